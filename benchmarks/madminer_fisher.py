"""MadMiner's half of the comparison of truth information, to be run by the Python of its own environment.

    python madminer_fisher.py H5 LUMINOSITY

The information at theta = (0, 0), with its covariance, of all events in MadMiner's own file. Prints one JSON line with
the seconds it took, without the reading of the set-up, and the information.
"""

from __future__ import annotations

import json
import logging
import sys
import time

from madminer.fisherinformation import FisherInformation


def main(h5: str, luminosity: float) -> None:
    logging.basicConfig(level=logging.ERROR)
    fisher = FisherInformation(h5)
    start = time.perf_counter()
    information, _ = fisher.truth_information([0.0, 0.0], luminosity=luminosity)
    seconds = time.perf_counter() - start
    print(json.dumps({"wall_s": seconds, "information": information.tolist()}))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
