"""Show what the best model gets wrong: confusion matrix, confused pairs, a gallery, and whether it is rightly sure."""

import numpy as np
import pandas as pd

from graybox import config, errors, figures, images, inference, mistakes, model, scores


def main() -> None:
    params = config.load()
    test = images.load("data/prepared", "test")
    network = model.load("models/best.safetensors", inference.pick_device(params.train.device))
    probabilities = inference.probabilities(network, test.images)
    predicted = probabilities.argmax(axis=1)
    wrong = mistakes.misclassified(test, probabilities)
    pairs = mistakes.confused_pairs(test, predicted, params.mistakes.pairs)

    wrong.round(6).to_csv("report/mistakes.csv", index=False, lineterminator="\n")
    pairs.to_csv("report/confused_pairs.csv", index=False, lineterminator="\n")
    names = np.array(test.class_names)
    answers = pd.DataFrame({"true class": names[test.labels], "predicted class": names[predicted]})
    answers.to_csv("plots/confusion.csv", index=False, lineterminator="\n")
    matrix = scores.confusion(test.labels, predicted, len(names))
    figures.save(figures.confusion_matrix(matrix, test.class_names), "plots/confusion.png")
    figures.save(figures.mistakes_gallery(test, wrong.head(params.mistakes.gallery)), "plots/mistakes.png")
    bins, error = mistakes.calibration(probabilities, test.labels)
    figures.save(figures.reliability_diagram(bins, error), "plots/calibration.png")
    print(f"{len(wrong)} of {len(test)} test images are misclassified")


if __name__ == "__main__":
    errors.run(main)
