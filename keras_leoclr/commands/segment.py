"""`leoclr segment` trains semantic segmentation on a backbone."""

from __future__ import annotations

from keras_leoclr.commands.downstream import downstream_command

COMMAND = downstream_command("segmentation", "semantic segmentation on a backbone, judged (mIoU)")
