"""Write the report as a page and as a PDF, and say in a few lines what was found."""

from pathlib import Path

from graybox import errors, files, settings
from graybox.report import content, html, locations, pdf, results, summary
from graybox.report.listing import listing


def main() -> None:
    params = settings.load()
    values, source = params.model_dump(mode="json", exclude={"report"}), params.data.source
    values["sources"] = {source: values["sources"][source]}
    found = results.load(Path(), listing(locations.masked(values)))
    document = content.document(found)
    page, printed = html.render(document), pdf.render(document, "report")
    files.write_text("report/index.html", page)
    with files.replacing("report/report.pdf") as part:
        part.write_bytes(printed)
    print(*summary.lines(found), "The report: report/index.html and report/report.pdf", sep="\n")


if __name__ == "__main__":
    errors.run(main)
