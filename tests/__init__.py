"""The tests.

They start some 200 processes. Where the environment forbids Python to keep what it compiles, as
images of containers do, each of them would compile every module anew: 1.5 s of processor time for
a service. The variable is about images, not about a checkout, so it is taken back here, before
anything else of the tests is loaded.
"""

import os
import sys

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
