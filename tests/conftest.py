"""What the tests share: nothing generated may land in the checkout."""

import os
import tempfile

os.environ.setdefault("FT_WORKDIR", tempfile.mkdtemp(prefix="ft-tests-"))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
