"""GPU memory and disk that a run needs, from the configurations of its models. Pure arithmetic, except ``disk``."""
