"""Work that leaves an output folder, to be disturbed: the same inputs make the same bytes, whatever happened before."""

from __future__ import annotations

import time
from functools import cached_property
from pathlib import Path

from analytic_likelihoods import Gaussian

import columnminer as cm
from columnminer.errors import ColumnMinerError
from columnminer.generate.drellyan import DrellYan
from columnminer.learn.estimators import load_estimator
from columnminer.learn.ratios import RatioEstimator
from columnminer.model.parameters import Parameter
from columnminer.model.priors import flat_prior
from columnminer.observe.selection import Selection
from columnminer.pipeline.analysis import Analysis
from columnminer.pipeline.steps import Running
from columnminer.processing import process
from columnminer.sample.sampling import sample_ratio
from columnminer.store.eventstore import EventStore
from columnminer.store.samples import Sample

N_EVENTS = 60

ANALYSIS = """\
seed: 3
generate:
  drellyan: {events: {sm: 3000, c_ll_plus: 1000}}
sampling:
  ratio: {theta0: {flat: {c_ll: [-0.05, 0.05], c_lr: [-0.05, 0.05]}}, n: 2000, n_theta: 10}
estimators:
  alices: {method: alices, hidden: [8], epochs: 4}
limits:
  luminosity: 1000
  theta_true: sm
  grid: {c_ll: [-0.1, 0.1, 7], c_lr: [-0.1, 0.1, 7]}
  estimators: [alices]
  rate: true
report:
  observables: [m_ll]
"""


def files(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


def selection(**cuts):
    return Selection(DrellYan().observables, **cuts)


class Work:
    """What can be made of the inputs in a folder."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def prepare(self):
        (self.folder / "lhe").mkdir()
        for i, file in enumerate(self.lhe):
            DrellYan().write_lhe(file, N_EVENTS, "sm", seed=i)
        (self.folder / "analysis.yaml").write_text(ANALYSIS)
        self.process(self.folder / "events.zarr")
        samples = sample_ratio(self.store, self.prior, "sm", 1000, n_theta=20)
        RatioEstimator(hidden=(32, 32)).fit(samples, epochs=1, progress=False).save(self.folder / "estimator")
        return self

    @property
    def lhe(self):
        return [self.folder / "lhe" / f"{i:03d}.lhe.gz" for i in range(100)]

    @cached_property
    def store(self):
        return EventStore(self.folder / "events.zarr")

    @property
    def prior(self):
        return flat_prior([(-0.05, 0.05)] * 2)

    def process(self, out, n_files=8, **options):
        arguments = {"selection": selection(), "part_size": 20, "progress": False, **options}
        return process([Sample(self.lhe[:n_files], benchmark="sm")], DrellYan().setup(), out=out, **arguments)

    def sample(self, out):
        sample_ratio(self.store, self.prior, "sm", 20_000, n_theta=20, out=out)

    def estimator(self, out):
        load_estimator(self.folder / "estimator").save(out)

    def toys(self, out, **options):
        model = Gaussian([Parameter("mu", 1.0), Parameter("nu", 0.0)], [[1.0, 0.3], [0.3, 0.5]])
        campaign = cm.Campaign(model, "mu", to_vary={"mu": [0.0, 2.0]}, n_toys=400, batch_size=20, seed=3)
        cm.run_campaign(campaign, out, progress=False, **options)

    def run(self, out):
        Analysis(self.folder / "analysis.yaml", out, Running(progress=False)).run()


def serve(folder, connection):
    """Do what is asked for, after a while: in a process of its own, which has imported all before it is asked."""
    work = Work(folder)
    connection.send("ready")
    for name, out, delay, options in iter(connection.recv, None):
        time.sleep(delay)
        try:
            getattr(work, name)(out, **options)
            connection.send(None)
        except ColumnMinerError as error:
            connection.send(f"{type(error).__name__}: {error}")
        except Exception as error:  # noqa: BLE001 - it is told, and fails the test there
            connection.send(f"not ours: {error!r}")
