"""Run async tests of the integration tests."""

from support.async_tests import pytest_pyfunc_call

__all__ = ["pytest_pyfunc_call"]
