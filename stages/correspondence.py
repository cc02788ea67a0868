"""Hide the same part of the object in several images of a class: do the network's features change the same way?"""

from graybox import errors, files, run, schema
from graybox.data import images
from graybox.features import correspondence
from graybox.features.params import CorrespondenceParams
from graybox.network import cnn, inference
from graybox.occlusion.params import OcclusionParams


def main() -> None:
    window = schema.load(OcclusionParams)
    test = images.load("data/prepared", "test")
    network = cnn.load("models/best.safetensors", run.device())
    predicted = inference.class_scores(network, test.images).argmax(1).numpy()
    wanted = schema.load(CorrespondenceParams).model_dump()
    found = correspondence.measure(network, test, predicted, fill=window.fill, gray=window.gray, **wanted)

    files.write_table("report/correspondence.csv", found.summary.round(6))
    files.write_json("report/correspondence.json", {"sentence": found.sentence})
    print(found.sentence)


if __name__ == "__main__":
    errors.run(main)
