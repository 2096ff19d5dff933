"""Conformance pack: inputs and expected results of every format and scheme.

``data/formats/NAME.npz`` (NumPy zip files without pickled objects) holds

- ``inputs``: uint32, the bits of float32 numbers: every finite value of the format, every midpoint
  of neighbours, the overflow threshold and half the smallest value, each with the three float32
  numbers below and above, of both signs; zeros, infinities, subnormals; NaN where the format has
  a code for it;
- ``codes``: the code of each input, as uint8; for floating-point formats one array per policy,
  ``codes_ieee``, ``codes_sat``, ``codes_satfinite``.

``data/schemes/NAME.npz`` holds, for each of the tensors ``A`` to ``I`` of ``data/inputs.npz``
(uint32 bits of float32, rows along the last axis), the arrays that the scheme stores, such as
``A/codes`` and ``A/scales``, floats as the unsigned integers of their bits, and ``A/values``, the
uint32 bits of the dequantized float32 numbers. In ``values`` any NaN equals any other. Schemes
whose rows are whole blocks of 256 take the first 256 columns.

An implementation writes files with the same names and keys, without ``inputs``; omitted files and
arrays are not checked.
"""
