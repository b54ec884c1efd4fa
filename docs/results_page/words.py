"""Texts of the page of results, and the names of what was measured, by the folders of `docs/results`."""

DATA = {
    "fashion_mnist": "Fashion-MNIST, the bundled 10,000 training and 2,000 test images",
    "fashion-mnist": "Fashion-MNIST, 60,000 training and 10,000 test images (Debian's dataset-fashion-mnist)",
    "fashion_scenes": "scenes of 2 to 4 garments each, 10,000 training and 2,000 test pictures "
    "(`keras_leoclr.data.fashion_scenes`)",
    "small_objects.npz": "garments of 12 pixels on canvases of 32, 10,000 training and 2,000 test images "
    "(`python tools/small_objects.py`)",
    "openclipart.npz": "coloured drawings of the Open Clip Art Library (`python tools/openclipart.py`)",
    "cifar10": "CIFAR-10, 50,000 training and 10,000 test pictures (a folder of JPEG files)",
    "imagenette_72": "Imagenette, 9,469 training and 3,925 test photographs of 10 classes of ImageNet, "
    "reduced to 72 pixels (`python tools/reduced_pictures.py imagenette runs/imagenette_72`)",
    "imagenette_108": "Imagenette, reduced to 108 pixels (`python tools/reduced_pictures.py imagenette "
    "runs/imagenette_108 --shorter_side 108`)",
}
NAMES = {  # of the pictures of the studies of the method, by folder
    "cifar10": "CIFAR-10",
    "fashion_mnist_60000": "one garment (Fashion-MNIST)",
    "imagenette": "photographs (Imagenette)",
    "imagenette_50": "photographs (Imagenette)",
    "imagenette_96": "photographs at 96 px (Imagenette)",
    "imagenette_groups": "photographs, BatchNorm in 8 groups",
    "imagenette_resnet18": "photographs, ResNet-18",
    "imagenette_stem_imagenet": "photographs, another network",
    "imagenette_temperature": "photographs, temperature 0.1",
    "openclipart": "clip art",
    "scenes": "scenes of 2 to 4 garments",
    "small_objects": "one small garment",
}
PATHS = {  # of data sets, as benchmarks/crop_agreement.py was given them
    "small_objects.npz": "runs/small_objects.npz",
    "openclipart.npz": "runs/openclipart.npz",
    "fashion-mnist": "/usr/share/datasets/fashion-mnist",
    "imagenette_72": "runs/imagenette_72",
    "cifar10": "runs/cifar10",
}
# Kinds of pictures, in the words that follow "On pictures".
CENTRED = "that show one centred thing on a plain ground"
OTHERS = "that show several or small things, and photographs"
OF_CENTRED = ("fashion_mnist", "openclipart")  # how their folders begin
# Leads of LeOCLR at equal epochs that were expected, in points: study, measure, lead, and who expected it.
EXPECTED = (
    ("scenes", "knn", 4.0, "this library's aim for scenes"),
    ("scenes", "linear", 4.0, "this library's aim for scenes"),
    ("imagenette", "linear", 5.1, "the paper's lead on ImageNet-1K"),
    ("imagenette_50", "linear", 5.1, "the paper's lead on ImageNet-1K"),
    ("imagenette_96", "linear", 5.1, "the paper's lead on ImageNet-1K"),
)
ABOUT = {
    "leoclr": "Everything but the method is the same in a row, by seed; points of test accuracy, or of mean "
    "average precision where pictures have several labels. At equal compute LeOCLR has four fifths of the "
    "epochs.\n",
    "crop_to_original": "Queries are crops and keys originals, as `--method crop_to_original` takes them: "
    "LeOCLR's pair the other way round, which is not the paper's.\n",
}
FORETOLD = """## Which method to take, seen without labels

The loss of the training needs no labels. Here it is divided by that of guessing (`loss_to_chance`): 1 is a
network that cannot tell the keys of an image from the negatives. Does the method with the smaller loss have
the better features? The table shows LeOCLR minus MoCo v2 at equal epochs, as the mean over the seeds: LeOCLR
is ahead where the loss is below 0, and where the gains in accuracy, in points, are above 0.
"""
INTRODUCTION = """# Results

LeOCLR (`--method leoclr`, the default) beside its baseline MoCo v2 (`--method moco_v2`): trained alike, with
several seeds. LeOCLR gives better features where crops lose what the original shows: in photographs, and in
pictures with several or with small things. Where one centred thing on a plain ground fills every picture, any
two crops show the same thing, and LeOCLR was equal to MoCo v2 or worse.

Rendered by `make results` (docs/results.py) from the `results.jsonl` files in `docs/results`;
each section names its command. Accuracies are of the test images, in percent: mean ± standard deviation
over the seeds. In brackets the difference from the first row in points, paired by seed, with its 95 %
interval (Student's t over the seeds); `*` marks an interval that does not contain 0, also where its end is
rounded to 0.0. Where two rows have different numbers of seeds, the difference is that of the seeds that both
have, and not the difference of the two means. A cell that has fewer seeds than its row says how many. A ring
in a picture is one seed, a filled dot the mean, the bar its 95 % interval, the dashed line the first row.

- *kNN*: the 20 nearest training images vote, by the cosine of the features, with weights exp(cosine / 0.07).
- *linear*: softmax regression on the frozen features; the weight decay is chosen on held-out training images.
- *linear, few labels*: the same on 10 labelled images per class, mean of 5 draws.
- *kNN among training images*: each training image is classified by the others. If it rises while the accuracy
  on test images falls, the network has memorised training images.
- *retrieval of the original*: the share of crops of 60 % of the area whose nearest picture among the test
  originals is their own.
- *linear, changed images*: the linear classifier of clean images is applied to test images that are cropped,
  shrunk, occluded or corrupted; mean over the changes and their strengths.
- *fine-tuned*: backbone and head are trained on 1 % of the labels (*few labels*), or on 10 %, for 500 steps
  or more; mean of three trainings with other labels. The learning rates are those of SwAV's authors for 10 %;
  on held-out training photographs of Imagenette they were better than those for 1 % (`leoclr evaluate
  finetune --train_split 'train[:80%]' --test_split 'train[80%:]' --seeds 0`, with the rates as flags).
- *antialiased original*: the test images were reduced without the filter of the training, as in version 0.1;
  evaluation now uses it.
"""


def kind_of(folder: str) -> str:
    """The kind of the pictures of a study, in the words that follow "On pictures"."""
    return CENTRED if folder.startswith(OF_CENTRED) else OTHERS
