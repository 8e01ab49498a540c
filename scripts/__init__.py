"""The method, one module a concern; `README.md` has the map."""

import logging

# On CPUs with bfloat16 units bitsandbytes looks for kernels that the hub serves as machine code, and warns that there are none.
# They would serve 4-bit products, and a base on a CPU is de-quantised once. It asks as soon as PEFT is imported.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
