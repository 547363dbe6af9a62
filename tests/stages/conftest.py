"""Fixtures of the stage tests."""

import pytest

from support.replies import Replies, running


@pytest.fixture
def server():
    with running(Replies()) as replies:
        yield replies
