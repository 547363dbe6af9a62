"""How judged responses become training data: the rules of the recipe, as pure functions over tables of keys.

``rules`` decides for each prompt, ``split`` shares prompts out by a seeded hash, ``keys`` reads what is decided on,
``rows`` fetches the texts of what was chosen. Nothing but ``keys`` and ``rows`` touches a file.
"""
