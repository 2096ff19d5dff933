"""How long and how much energy? Operators of a model, bounds and throughput."""

from typing import TYPE_CHECKING

from numerics.lazy import attach

if TYPE_CHECKING:
    from roofline.model.model_names import known_model as known_model
    from roofline.model.model_shape import ModelShape as ModelShape
    from roofline.runtime.serving_format import ServingFormat as ServingFormat
    from roofline.runtime.serving_format import parse_format as parse_format
    from roofline.time.predict import StepTime as StepTime
    from roofline.time.predict import predict_step as predict_step
    from roofline.time.serving import Prediction as Prediction
    from roofline.time.serving import Request as Request
    from roofline.time.serving import predict as predict
    from roofline.workload.setup import Setup as Setup
else:
    __getattr__, __dir__ = attach(__name__, __file__)
