"""`qsim codesign`: accuracy, silicon and speed joined in one decision."""
