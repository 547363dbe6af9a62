"""Settings of the property tests: the same examples on every machine, few enough for ten seconds in all."""

from hypothesis import HealthCheck, settings

quick = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
