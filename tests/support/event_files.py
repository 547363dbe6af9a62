"""Reads the event files of TensorBoard, without TensorBoard."""

import struct

from tensorboardX.proto import event_pb2


def events(path):
    """Yield the events of a file. Source: TensorFlow, "TFRecord": length, its CRC, data, CRC of the data."""
    content = path.read_bytes()
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        yield event_pb2.Event.FromString(content[12 : 12 + length])
        content = content[16 + length :]


def scalars(path, tag):
    """Return the values of a scalar by step."""
    return {e.step: v.simple_value for e in events(path) for v in e.summary.value if v.tag == tag}
