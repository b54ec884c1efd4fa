"""Every operation of a training step on large tensors has a kernel for GPUs; no GPU is needed to know."""

import keras
import pytest
import tensorflow as tf

if keras.backend.backend() != "tensorflow":
    pytest.skip("TensorFlow's registry of kernels", allow_module_level=True)

from tools.kernel_audit import EXCEPTIONS, audit, graph_of_a_step, without_kernel

STEPS = [
    ("resnet_small", "float32", "SGD", {"accumulated": 2, "bn_groups": 2}),
    ("resnet_small", "mixed_bfloat16", "LARS", {"momentum": 0.0, "queue_size": 0}),
    ("resnet18", "float32", "LARS", {}),
    ("resnet18", "mixed_bfloat16", "SGD", {}),
    ("vit", "float32", "SGD", {}),
    ("vit", "mixed_bfloat16", "LARS", {}),
    ("resnet_small", "float32", "SGD", {"views_on": "device"}),
    ("resnet_small", "mixed_bfloat16", "SGD", {"views_on": "device", "bn_groups": 2}),
]


@pytest.mark.parametrize(("network", "policy", "optimizer", "options"), STEPS)
def test_every_operation_of_a_step_on_large_tensors_has_a_gpu_kernel(network, policy, optimizer, options):
    graph = graph_of_a_step(network, policy, optimizer, **options)
    kinds = {each.kind for each in audit(graph)}
    assert {"MatMul", "AssignSubVariableOp", "AssignVariableOp"} <= kinds, "forward pass, optimizer, average"
    assert ("FusedBatchNormGradV3" in kinds) == network.startswith("resnet"), "the backward pass"
    assert ("ResourceScatterUpdate" in kinds) == (options.get("queue_size") != 0), "the queue"
    assert (("uint8", "float32") in {each.types for each in audit(graph) if each.kind == "Cast"}) == (
        options.get("views_on") == "device"
    ), "pictures of 8 bits"
    assert without_kernel(graph) == []


def test_exceptions_have_a_reason():
    assert all(len(reason.split()) > 5 for reason in EXCEPTIONS.values())


def graph_of(function, *tensors):
    return tf.function(function).get_concrete_function(*tensors).graph


def test_an_operation_without_a_gpu_kernel_is_found():
    images = tf.TensorSpec((1, 32, 32, 3), tf.float32)
    graph = graph_of(
        lambda x: tf.raw_ops.ScaleAndTranslate(
            images=x, size=[16, 16], scale=[0.5, 0.5], translation=[0.0, 0.0]
        ),
        images,
    )
    (found,) = without_kernel(graph)
    assert found.kind == "ScaleAndTranslate" and found.wrong == "no GPU kernel for these types"
    assert "(1, 32, 32, 3)" in found.shapes


def test_it_is_found_in_a_branch_a_loop_and_a_function_within_a_function():
    images = tf.TensorSpec((1, 32, 32, 3), tf.float32)

    @tf.function(autograph=False)
    def inner(x):
        return tf.raw_ops.ScaleAndTranslate(images=x, size=[32, 32], scale=[1.0, 1.0], translation=[0.0, 0.0])

    def outer(x):
        x = tf.cond(tf.reduce_sum(x) > 0, lambda: inner(x), lambda: x)
        x = tf.while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, inner(x)), (0, x))[1]
        return tf.switch_case(tf.cast(x[0, 0, 0, 0], tf.int32), [lambda: x, lambda: inner(x)])

    assert len(without_kernel(graph_of(outer, images))) == 3


def test_a_type_without_a_kernel_and_tensors_on_the_host_are_found():
    pictures = tf.TensorSpec((1, 32, 32, 3), tf.uint8)
    boxes = tf.constant([[0.0, 0.0, 1.0, 1.0]])
    cropped = graph_of(
        lambda x: tf.raw_ops.MirrorPad(input=x, paddings=[[0, 0], [1, 1], [1, 1], [0, 0]], mode="SYMMETRIC"),
        pictures,
    )
    assert [each.types[0] for each in without_kernel(cropped)] == ["uint8"]
    floats = graph_of(
        lambda x: tf.image.crop_and_resize(tf.cast(x, tf.float32), boxes, [0], (16, 16)), pictures
    )
    assert without_kernel(floats) == []
    # whole numbers of 32 bits are shapes and counters to TensorFlow, and are added on the host
    added = graph_of(lambda x: x + 1, tf.TensorSpec((2000,), tf.int32))
    found = {each.kind: each.wrong for each in without_kernel(added)}
    assert found["AddV2"] == "its kernel has x, z in the memory of the host"
    assert without_kernel(graph_of(lambda x: x + 1, tf.TensorSpec((2000,), tf.int64))) == []
    assert without_kernel(graph_of(lambda x: x + 1, tf.TensorSpec((1000,), tf.int32))) == []
