# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.
"""--model: GPUs that nobody has to own, in the place of the node's."""

import argparse
import pathlib

from mig_placement import exception
from mig_placement.hardware import model
from mig_placement.hardware import session


def add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        metavar="MODEL[:COUNT]",
        help="GPUs of a model instead of the node's, for example A100-40GB:2",
    )


def node(text: str) -> model.Node:
    """A node of GPUs that nobody has to own, with MIG on and empty.

    :raises ConfigError: the model is not known.
    """
    # Imported where they are used: a node with GPUs starts without them.
    import tempfile

    from mig_placement import simulator

    name, _, count = text.partition(":")
    if count and not (count.isdigit() and 0 < int(count) <= 64):
        raise exception.ConfigError(
            f"{count!r} is no number of GPUs",
            where=f"--model {text}",
            mend="give 1 to 64, as in A100-40GB:2",
        )
    if name not in simulator.models():
        raise exception.ConfigError(
            f"no GPU model {name!r} is known",
            where=f"--model {text}",
            mend=f"use one of {', '.join(sorted(simulator.models()))}",
        )
    with tempfile.TemporaryDirectory(prefix="mig-placement-") as folder:
        path = pathlib.Path(folder) / "gpus.json"
        models = [name] * int(count or 1)
        simulator.SimulatedNode(path).create(models, mig=True)
        simulator.install(str(path))
        with session.Session() as opened:
            return opened.observe()
