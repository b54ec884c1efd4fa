"""`leoclr detect` trains a detector on a backbone."""

from __future__ import annotations

from keras_leoclr.commands.downstream import downstream_command

COMMAND = downstream_command("detection", "a detector on a backbone, judged (COCO's AP)")
