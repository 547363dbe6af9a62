"""The stages by family. A file has the stages, their digest parameters, and the tasks of their pods."""
