"""Attacks: what hostile files, a hostile Hub, killed processes and full disks can do, counted.

Short runs are tests (`test_attack.py`). Long ones are started by hand, from the root of a checkout:
`python -m tests.attack.fuzz 1000000`, `python -m tests.attack.hub_faults`, `python -m tests.attack.kills 1000`,
`python -m tests.attack.surroundings`, `python -m tests.attack.interrupts 300`. What they print goes into
`benchmarks/attack.md`.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # the helpers of all tests
