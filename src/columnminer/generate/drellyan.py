"""The built-in generator: p p -> l- l+ and e- e+ -> mu- mu+ with contact couplings, whose exact likelihood is known.

At parton level and leading order, with photon, Z and flavour-universal four-fermion couplings (`amplitudes`), and for
protons the parton densities GRV 94 LO of M. Glueck, E. Reya and A. Vogt (`partons`) at the factorisation scale m.
Events have observables

* m, y: invariant mass [GeV] and rapidity of the lepton pair,
* cos theta*: cosine of the angle between l- and the direction of the pair along the beam, in the rest frame of the pair
  (J. Collins and D. Soper, Phys. Rev. D 16 (1977) 2219). That direction, the sign of y, stands for the direction of the
  quark, which nobody sees. In e- e+ it is that of the e-, and cos theta* is the only observable;

and latent variables: the flavours, the side from which the quark came, and the helicities. Weights of the events are
ratios of squared amplitudes at given latent variables, as those of any generator; `DrellYan.log_ratio` and
`DrellYan.score` are those of the observables, summed over what is latent. With `resolution` they are those of smeared
leptons.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from columnminer.errors import InputError
from columnminer.formats.lhe_header import Beam, DeclaredWeight, Generator, LHEInfo, Process
from columnminer.formats.lhe_write import write_lhe
from columnminer.generate.amplitudes import CONTACT_COUPLINGS, couplings_checked
from columnminer.generate.beams import ElectronBeams, ProtonBeams, mass_panels
from columnminer.generate.exact import Nodes, QuadraticLikelihood, panel_nodes
from columnminer.generate.hard import HardProcess
from columnminer.generate.kinematics import event_records, observable_texts
from columnminer.generate.sampling import EventSampler
from columnminer.generate.smearing import LARGEST_RESOLUTION, log_response_range, smeared_forms
from columnminer.model.parameters import Coupling, ParameterSpace
from columnminer.model.setup import Setup
from columnminer.schema import NOMINAL, EventBatch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from columnminer.generate.exact import Thetas
    from columnminer.generate.sampling import PartonEvents
    from columnminer.model.setup import Theta
    from columnminer.streams import Seed

__all__ = ["DrellYan"]

_EDGE_TOLERANCE = 1e-6  # relative: what a text file may do to an event at the edge of the mass range
_COSINE_NODES = 16


@dataclass(frozen=True)
class DrellYan(QuadraticLikelihood):
    """Lepton pairs with contact interactions: generator and exact likelihood.

    Parameters
    ----------
    process
        "pp" for p p -> l- l+, "ee" for e- e+ -> mu- mu+.
    sqrt_s
        Centre-of-mass energy [GeV]; None is 13000 for protons and 250 for electrons.
    mass_range
        Range of m [GeV] in which pairs of "pp" are made.
    couplings
        Names of the contact couplings that are the parameters [TeV^-2], out of `amplitudes.CONTACT_COUPLINGS`.
    bound
        The parameters' ranges of interest are (-bound, bound) [TeV^-2].
    lepton
        "mu" or "e": what the pairs of "pp" are.
    resolution
        Relative resolution of the leptons' transverse momenta in the exact likelihood, 0 to 0.1, only for "pp"; the
        response stands in the module `smearing`. Events are made without it: smearing them is a detector's work.

    Raises
    ------
    InputError
        If an option is out of its range.
    UnknownNameError
        If a coupling does not exist.

    Examples
    --------
    >>> process = cm.DrellYan(mass_range=(500.0, 2000.0))
    >>> batch = process.generate(1000, "sm", seed=1)
    >>> batch.weights.shape  # nominal and six benchmarks
    (1000, 7)
    >>> x = [[800.0, 0.5, 0.3]]  # mass [GeV], rapidity, cosine: the log likelihood ratio to the standard model is known
    >>> process.log_ratio(x, [0.03, 0.0]).round(3)
    array([0.003])
    """

    process: Literal["pp", "ee"] = "pp"
    sqrt_s: float | None = None
    mass_range: tuple[float, float] = (500.0, 2000.0)
    couplings: tuple[str, ...] = ("c_ll", "c_lr")
    bound: float = 0.05
    lepton: Literal["mu", "e"] = "mu"
    resolution: float = 0.0

    def __post_init__(self) -> None:
        if self.process not in {"pp", "ee"}:
            msg = f"process must be 'pp' or 'ee', not {self.process!r}"
            raise InputError(msg)
        energy = {"pp": 13_000.0, "ee": 250.0}[self.process] if self.sqrt_s is None else self.sqrt_s
        object.__setattr__(self, "sqrt_s", energy)
        object.__setattr__(self, "mass_range", tuple(self.mass_range))
        object.__setattr__(self, "couplings", couplings_checked(self.couplings))
        if not (math.isfinite(energy) and energy > 5):
            msg = f"sqrt_s must be above 5 GeV, not {energy!r}"
            raise InputError(msg)
        if not (math.isfinite(self.bound) and self.bound > 0):
            msg = f"bound must be positive, not {self.bound!r}"
            raise InputError(msg)
        if self.lepton not in {"mu", "e"}:
            msg = f"lepton must be 'mu' or 'e', not {self.lepton!r}"
            raise InputError(msg)
        if not 0 <= self.resolution <= LARGEST_RESOLUTION:
            msg = f"resolution must lie between 0 and {LARGEST_RESOLUTION}, not {self.resolution!r}"
            raise InputError(msg)
        if self.process == "ee" and (self.resolution or self.lepton != "mu"):
            msg = "e- e+ -> mu- mu+ has muons only, and its one observable does not feel the momentum resolution"
            raise InputError(msg)
        ascending = np.diff([5.0, *self.mass_range, energy]) > 0
        if self.process == "pp" and not (ascending.all() and len(ascending) == 3):
            msg = f"mass_range must be two ascending masses from 5 GeV to sqrt_s = {energy:g}, not {self.mass_range}"
            raise InputError(msg)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the observables: the columns of x."""
        return tuple(self.observables)

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of the parameters: the couplings."""
        return self.couplings

    @property
    def reference(self) -> NDArray[np.float64]:
        """(n_par,) the Standard Model: all contact couplings 0."""
        return np.zeros(len(self.couplings))

    @property
    def observables(self) -> dict[str, str]:
        """Name of each observable and the expression that gives it from the leptons of an event."""
        if self.process == "ee":
            return {"cos_theta": observable_texts(self.lepton, by_boost=False)["cos_theta"]}
        return observable_texts(self.lepton, by_boost=True)

    @property
    def smearing(self) -> dict[str, float]:
        """Object name -> relative resolution of its pT in the exact likelihood, energy following; empty without.

        A detector that smears this way alone makes events of which `log_ratio` is exact.
        """
        return {self.lepton: self.resolution} if self.resolution else {}

    @cached_property
    def hard(self) -> HardProcess:
        """The hard process between its beams."""
        energy = cast("float", self.sqrt_s)
        if self.process == "ee":
            return HardProcess(ElectronBeams(energy), self.couplings)
        return HardProcess(ProtonBeams(energy, self.mass_range), self.couplings)

    def setup(self) -> Setup:
        """Return parameters, benchmarks and morphing.

        The benchmarks are a basis of the quadratic functions of theta: "sm", each coupling at either of its bounds, and
        each two of them at their upper bounds.
        """
        return self._setup

    @cached_property
    def _setup(self) -> Setup:
        space = ParameterSpace(
            Coupling(
                name,
                bounds=(-self.bound, self.bound),
                lha=("contact", 1 + CONTACT_COUPLINGS.index(name)),
                max_power=2,
                description=f"four-fermion coupling {name} [TeV^-2]",
            )
            for name in self.couplings
        )
        shifts: dict[str, dict[str, float]] = {"sm": {}}
        for name in self.couplings:
            shifts |= {f"{name}_plus": {name: self.bound}, f"{name}_minus": {name: -self.bound}}
        for pair in combinations(self.couplings, 2):
            shifts["_".join(pair)] = dict.fromkeys(pair, self.bound)
        benchmarks = {name: dict.fromkeys(self.couplings, 0.0) | shift for name, shift in shifts.items()}
        return Setup(space, benchmarks).with_morphing(max_overall_power=2, morphing_basis=list(benchmarks))

    def thetas(self, theta: Thetas) -> NDArray[np.float64]:
        """Return one or many parameter points (benchmark names, dicts or sequences) as an (n_theta, n_par) array."""
        return self._setup.thetas(theta)

    # Events

    def sample(self, n: int, theta: Theta = "sm", seed: Seed = 0, first_event: int = 0) -> PartonEvents:
        """Return the events of `generate` as variables of the pair with their latent configurations."""
        return EventSampler(self.hard, self._setup.theta(theta), seed).draw(first_event, n)

    def generate(self, n: int, theta: Theta = "sm", seed: Seed = 0) -> EventBatch:
        """Return `n` unweighted events made at `theta`, with weights at all benchmarks.

        Parameters
        ----------
        n
            Number of events.
        theta
            Parameter point: a benchmark name, a dict, or values in order.
        seed
            Event number i is a function of seed, theta and i alone.

        Returns
        -------
        EventBatch
            The mean of each column of weights estimates the cross section there [pb], see `info`.
        """
        return next(self.batches(n, theta, seed, size=n))

    def batches(self, n: int, theta: Theta = "sm", seed: Seed = 0, size: int = 20_000) -> Iterator[EventBatch]:
        """Yield the events of `generate`, `size` at a time (the last batch may be shorter)."""
        for what, count in {"number of events": n, "size of a batch": size}.items():
            if not count >= 1:
                msg = f"the {what} must be positive, not {count!r}"
                raise InputError(msg)
        point = self._setup.theta(theta)
        names = (NOMINAL, *self._setup.benchmark_names)
        points = np.vstack([point, self._setup.benchmark_points])
        xsec = self.xsec(point)
        sampler = EventSampler(self.hard, point, seed)
        for first in range(0, n, size):
            events = sampler.draw(first, min(size, n - first))
            squares = self.hard.squares(events.mass, events.channel, events.helicity, points)
            records = event_records(events, self.hard.beams.channels, self.lepton)
            yield EventBatch(records, xsec * (squares / squares[:, :1]), names, first, f"Drell-Yan {self.process}")

    def info(self, theta: Theta = "sm") -> LHEInfo:
        """Return what a file of events made at `theta` says about itself.

        IDWTUP is 4: the mean of the weights is the cross section in pb.
        """
        xsec = float(self.xsec(self._setup.theta(theta))[0])
        energy = cast("float", self.sqrt_s) / 2
        beam_1, beam_2 = (Beam(pdgid, energy) for pdgid in self.hard.beams.beam_ids)
        declared = tuple(
            DeclaredWeight(benchmark.name, text=", ".join(f"{k} = {v!r} / TeV^2" for k, v in benchmark.values.items()))
            for benchmark in self._setup.benchmarks
        )
        return LHEInfo(
            weight_names=(NOMINAL, *self._setup.benchmark_names),
            weighting=4,
            beams=(beam_1, beam_2),
            processes=(Process(1, xsec, 0.0, xsec),),
            generators=(Generator("columnminer", text=f"built-in Drell-Yan, {self.process}"),),
            declared=declared,
        )

    def write_lhe(
        self, path: str | Path, n: int, theta: Theta = "sm", seed: Seed = 0, *, replace: bool = False
    ) -> None:
        """Write the events of `generate` to a Les Houches event file, gzipped if the name ends in .gz.

        Raises
        ------
        OutputExistsError
            If the file exists and is not to be replaced.
        """
        write_lhe(path, self.batches(n, theta, seed), self.info(theta), replace=replace)

    # Exact likelihood

    @property
    def total_form(self) -> NDArray[np.float64]:
        """(1 + n_par, 1 + n_par) quadratic form of the total cross section [pb]."""
        return self.hard.total_form

    def forms(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the quadratic form of d sigma / dx [pb per unit of x], (n_x, 1 + n_par, 1 + n_par)."""
        if self.resolution:
            return smeared_forms(self._true_forms, x, self.resolution, self.mass_range)
        return self._true_forms(x)

    def _true_forms(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.process == "ee":
            mass, rapidity, cosine = np.full(len(x), self.sqrt_s), np.zeros(len(x)), x[:, 0]
            inside = np.abs(cosine) <= 1
        else:
            # The density is the same for (y, c) and (-y, c), since c changes sign with the direction that y gives.
            mass, rapidity, cosine = x[:, 0], np.abs(x[:, 1]), x[:, 2]
            low, high = self.mass_range
            inside = (mass >= low * (1 - _EDGE_TOLERANCE)) & (mass <= high * (1 + _EDGE_TOLERANCE))
            inside &= np.abs(cosine) <= 1
        forms = np.zeros((len(x), *self.total_form.shape))
        forms[inside] = self.hard.forms(mass[inside], rapidity[inside], cosine[inside])
        return forms

    def quadrature(self) -> Nodes:
        """Return nodes for integrals over x: (m, y > 0 counted twice, cos theta*)."""
        cosine = panel_nodes([-1.0, 1.0], _COSINE_NODES)
        if isinstance(self.hard.beams, ElectronBeams):
            return Nodes(cosine.x[:, np.newaxis], cosine.weights)
        low, high = self.mass_range
        edges = mass_panels(low, high)
        if self.resolution:
            spread = np.linspace(*log_response_range(self.resolution), 5)
            edges = np.union1d(edges, np.concatenate([low * np.exp(spread), high * np.exp(spread)]))
        pair = self.hard.beams.nodes_between(edges, order=10)
        n, n_cosine = len(pair.x), len(cosine.x)
        x = np.column_stack([np.repeat(pair.x, n_cosine, axis=0), np.tile(cosine.x, n)])
        return Nodes(x, np.repeat(pair.weights, n_cosine) * np.tile(cosine.weights, n))
