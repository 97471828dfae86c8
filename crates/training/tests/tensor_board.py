"""Prints what TensorBoard sees in a folder, as JSON: by stage and tag the steps with their numbers or texts."""

import json
import os
import sys

from tensorboard.backend.event_processing import event_accumulator, plugin_event_accumulator
from tensorboard.util import tensor_util


def text(value):
    return value.item().decode() if value.dtype.kind in "OS" else value.item()


def stage(folder):
    # What TensorBoard itself reads with.
    events = plugin_event_accumulator.EventAccumulator(folder)
    events.Reload()
    found = {}
    for plugin in ["scalars", "text"]:
        for tag in events.PluginTagToContent(plugin):
            read = [[event.step, text(tensor_util.make_ndarray(event.tensor_proto))] for event in events.Tensors(tag)]
            found[tag] = read
    # What scripts read with. It knows of no text that is void.
    events = event_accumulator.EventAccumulator(folder)
    events.Reload()
    for tag in events.Tags()["scalars"]:
        assert found[tag] == [[event.step, event.value] for event in events.Scalars(tag)], tag
    return found


root = sys.argv[1]
json.dump({name: stage(os.path.join(root, name)) for name in sorted(os.listdir(root))}, sys.stdout)
