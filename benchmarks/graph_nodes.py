"""Operations of a training step on TensorFlow: a pass for each group and key view, or one pass for all.

    python benchmarks/graph_nodes.py
    python benchmarks/graph_nodes.py --network resnet50 --size 64

`nodes` are the operations of the graph before TensorFlow simplifies it, those of its functions included.
"""

import argparse
import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import tensorflow as tf

import keras_leoclr as kl
from keras_leoclr.distribution import groups


def step_of(network, size, batch, bn_groups, one_pass):
    """The graph of one training step."""
    keras.utils.set_random_seed(0)
    groups.ONE_PASS = one_pass
    build = getattr(kl.backbones, network)
    model = kl.LeOCLR(build((size, size, 3)), queue_size=4096, bn_groups=bn_groups)
    model.compile(kl.optimizers.SGD(0.03, momentum=0.9, weight_decay=1e-4))
    views = {
        "query": tf.TensorSpec((batch, size, size, 3)),
        "keys": tf.TensorSpec((batch, 2, size, size, 3)),
    }
    return tf.function(lambda batch: model.train_step((batch,))).get_concrete_function(views).graph


def counts_of(graph):
    """Number of nodes and of convolutions, forward and backward."""
    definition = graph.as_graph_def()
    nodes = [*definition.node, *(n for f in definition.library.function for n in f.node_def)]
    return len(nodes), sum(node.op.startswith("Conv2D") for node in nodes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--network", default="resnet18")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    options = parser.parse_args()
    print(f"{options.network}, {options.size} px, 2 key views; nodes (convolutions) of a step")
    for bn_groups in (1, 4):
        found = [
            counts_of(step_of(options.network, options.size, options.batch, bn_groups, one_pass))
            for one_pass in (False, True)
        ]
        many, one = (f"{nodes} ({convolutions})" for nodes, convolutions in found)
        print(f"  bn_groups {bn_groups}: {many} in many passes, {one} in one pass", flush=True)


if __name__ == "__main__":
    main()
