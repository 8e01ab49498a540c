"""Commands, and the packages that they use. The map is in docs/architecture.md."""

import logging

# On CPUs with bfloat16 units bitsandbytes warns that it has no kernels for 4-bit products, as soon as PEFT
# is imported. A 4-bit base is de-quantised on a CPU, so these kernels would not be used.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
