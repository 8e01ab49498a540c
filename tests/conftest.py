"""What the tests share: nothing generated may land in the checkout."""

import os
import tempfile

os.environ.setdefault("FT_WORKDIR", tempfile.mkdtemp(prefix="ft-tests-"))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is loaded; tiny models are slower on more
