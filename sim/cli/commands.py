"""All commands of ``qsim``, one module per group."""

from sim.cli.app import app as app
from sim.cli.codesign import codesign
from sim.cli.formats import formats
from sim.cli.hw import hw
from sim.cli.merge import merge
from sim.cli.methods import methods
from sim.cli.models import models
from sim.cli.plan import plan
from sim.cli.quantize import quantize
from sim.cli.roofline import roofline
from sim.cli.rtl import rtl
from sim.cli.sweep import sweep

app.command(sweep)
app.command(merge)
app.command(quantize)
for group in (models, formats, methods, hw, plan, roofline, rtl, codesign):
    app.command(group)
