"""The distance of a result's uncertainties from those of the float network."""

from __future__ import annotations

from qbnnc.evaluation.data import LabelledData
from qbnnc.evaluation.fidelity import compared
from qbnnc.evaluation.predictors import FloatPredictor
from qbnnc.evaluation.score import Rows, Scores, evaluate
from qbnnc.loading.artefacts import Predictor
from qbnnc.passes.head.assign_head import with_head
from qbnnc.study.results import Precision, Result
from qbnnc.study.settings import Floats, Study


def scores_of(
    study: Study, predictor: Predictor, data: LabelledData, seed: int, ood: Floats | None
) -> Scores:
    """Evaluate a predictor with the options of a study; UserError if the network gives NaN."""
    settings, model = study.settings, predictor.model
    samples = settings.samples
    return evaluate(
        predictor,
        data,
        task=settings.task,
        seeds=(seed,),
        samples=None if samples is None else samples * len(model.members),
        ood=ood,
        target_mean=settings.target_mean,
        target_std=settings.target_std,
    )


def float_predictor(study: Study, network: str) -> FloatPredictor:
    """A network of the study in float32, with the study's task."""
    return FloatPredictor.of(with_head(study.model(network), study.settings.task))


def distances(study: Study, result: Result, rows: Rows, *, random: bool) -> dict[str, float]:
    """Compare the predictions of a result with the float network's at the same seed.

    The float network itself is compared with its next seed, if it is random: so much do its samples
    leave to chance. The measures are those of `qbnnc.evaluation.fidelity.compared`.
    """
    if result.precision is not Precision.FLOAT:
        return compared(_float_rows(study, result.network, result.seed), rows)
    _keep(study, result.network, result.seed, rows)
    if not random:
        return {}
    return compared(rows, _float_rows(study, result.network, result.seed + 1))


def _float_rows(study: Study, network: str, seed: int) -> Rows:
    """The float network's predictions of the test data, made once while its jobs last."""
    known = study.float_rows.get((network, seed))
    if known is not None:
        return known
    scores = scores_of(study, float_predictor(study, network), study.test, seed, None)
    _keep(study, network, seed, scores.rows_of_seeds[0])
    return scores.rows_of_seeds[0]


def _keep(study: Study, network: str, seed: int, rows: Rows) -> None:
    """Keep the rows of one network only: jobs come network by network, and rows may be large."""
    for key in list(study.float_rows):
        if key[0] != network:
            study.float_rows.pop(key, None)
    study.float_rows[network, seed] = rows
