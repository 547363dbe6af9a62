"""What several stages' tests talk to."""

import threading

import pytest

from support.replies import Replies


@pytest.fixture
def server():
    with Replies() as replies:
        thread = threading.Thread(target=replies.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield replies
        replies.hanging.set()
        replies.shutdown()
        thread.join()
