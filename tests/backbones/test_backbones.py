"""ResNets: geometry, size and training."""

import keras
import numpy as np
import pytest

import keras_leoclr as kl

# Trainable parameters of torchvision's models without the 1000-class layer
# (resnet18: 11,689,512 - 513,000 and so on; https://pytorch.org/vision/stable/models.html).
PARAMETERS = {"resnet18": 11_176_512, "resnet34": 21_284_672, "resnet50": 23_508_032, "resnet101": 42_500_160}


@pytest.mark.parametrize("name", PARAMETERS)
def test_resnet_has_torchvisions_parameters(name):
    model = getattr(kl.backbones, name)((64, 64, 3))
    trainable = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    assert trainable == PARAMETERS[name]
    assert model.output_shape == (None, 512 if name in ("resnet18", "resnet34") else 2048)


def strides(model):
    return [layer.output.shape[1] for layer in model.layers if layer.name.endswith("_relu")]


def test_imagenet_stem_reduces_by_four_and_each_later_stage_by_two():
    model = kl.backbones.resnet18((64, 64, 3), width=4)
    assert sorted(set(strides(model)), reverse=True) == [32, 16, 8, 4, 2]


def test_cifar_stem_keeps_the_size():
    model = kl.backbones.resnet18((32, 32, 3), stem="cifar", width=4)
    assert sorted(set(strides(model)), reverse=True) == [32, 16, 8, 4]


def test_bottleneck_has_its_stride_in_the_3x3_convolution():
    model = kl.backbones.resnet50((64, 64, 3), width=4)
    assert model.get_layer("stage2_block1_1_conv").strides == (1, 1)
    assert model.get_layer("stage2_block1_2_conv").strides == (2, 2)


def test_strided_convolutions_are_padded_alike_on_all_sides():
    # A 3 x 3 kernel that passes its centre on: with symmetric padding output i is input 2 i;
    # Keras' "same" would pick 2 i + 1 for even sizes.
    model = kl.backbones.resnet_small((8, 8, 3), widths=(4,))
    kernel = np.zeros((3, 3, 3, 4), "float32")
    kernel[1, 1, 0, 0] = 1.0
    model.get_layer("stem_conv").set_weights([kernel])
    stem = keras.Model(model.inputs, model.get_layer("stem_conv").output)
    image = np.random.default_rng(0).random((1, 8, 8, 3)).astype("float32")
    np.testing.assert_allclose(stem.predict(image, verbose=0)[0, :, :, 0], image[0, ::2, ::2, 0], rtol=1e-6)


def test_batch_norm_has_torchvisions_constants():
    norm = kl.backbones.resnet_small(widths=(4,)).get_layer("stem_norm")
    assert (norm.momentum, norm.epsilon) == (0.9, 1e-5)


def test_backbone_is_made_of_stock_layers():
    model = kl.backbones.resnet_small((8, 8, 3), widths=(4, 8))
    assert {type(layer).__module__.split(".")[0] for layer in model.layers} == {"keras"}


def test_unknown_stem_is_refused():
    with pytest.raises(ValueError, match=r"`stem` must be one of .*Received: stem='big'"):
        kl.backbones.resnet18(stem="big")


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("kind", "given", "words"),
    [
        ("resnet_small", {"input_shape": 64}, r"`input_shape` must be \(height, .* input_shape=64$"),
        ("resnet_small", {"input_shape": (64, 64)}, r"`input_shape` must .* input_shape=\(64, 64\)$"),
        ("resnet18", {"input_shape": (64, 0, 3)}, r"`input_shape` must .* input_shape=\(64, 0, 3\)$"),
        ("resnet18", {"width": 1.5}, "`width` must be a whole number >= 1. Received: width=1.5"),
        (
            "resnet_small",
            {"widths": 32},
            "`widths` must be a list of whole numbers >= 1. Received: widths=32",
        ),
        ("resnet_small", {"widths": (32, 0)}, "`widths` must be a whole number >= 1. Received: widths=0"),
        ("resnet_small", {"blocks": 0}, "`blocks` must be a whole number >= 1. Received: blocks=0"),
        ("vit_tiny", {"image_size": (32, 32, 3)}, r"`image_size` must .* image_size=\(32, 32, 3\)$"),
        ("vit_tiny", {"patch_size": 0}, "`patch_size` must be a whole number >= 1. Received: patch_size=0"),
    ],
)
def test_a_shape_or_size_that_is_none_is_named(kind, given, words):
    with pytest.raises(ValueError, match=words):
        getattr(kl.backbones, kind)(**given)


def test_images_of_any_size_have_no_height_and_width():
    assert kl.backbones.resnet_small((None, None, 3)).input_shape == (None, None, None, 3)
