"""Reports of a sweep: table, figures and one self-contained page."""

from sim.provenance import ReportProvenance as ReportProvenance
from sim.report.table import markdown_table as markdown_table
from sim.report.table import print_table as print_table
from sim.report.write import write_csv as write_csv
from sim.report.write import write_report as write_report
