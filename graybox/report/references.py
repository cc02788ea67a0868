"""The sources of the methods and data that a study used."""

from __future__ import annotations

from graybox.report.document import Bullets, Section
from graybox.report.results import Results

# Each with what must be used for it to be named; "" = always.
REFERENCES: tuple[tuple[str, str], ...] = (
    (
        "",
        "M. D. Zeiler, R. Fergus: Visualizing and Understanding Convolutional Networks. ECCV 2014. (The gray window.)",
    ),
    (
        "boxes",
        "K. Xiao, L. Engstrom, A. Ilyas, A. Madry: Noise or Signal: The Role of Image Backgrounds in Object "
        "Recognition. ICLR 2021. (Exchanged backgrounds.)",
    ),
    (
        "faithfulness",
        "V. Petsiuk, A. Das, K. Saenko: RISE: Randomized Input Sampling for Explanation of Black-box Models. BMVC "
        "2018. (Deletion and insertion.)",
    ),
    (
        "mini_imagenet",
        "O. Vinyals, C. Blundell, T. Lillicrap, K. Kavukcuoglu, D. Wierstra: Matching Networks for One Shot "
        "Learning. NeurIPS 2016. (mini-ImageNet.)",
    ),
    (
        "mini_imagenet",
        "O. Russakovsky et al.: ImageNet Large Scale Visual Recognition Challenge. IJCV 115, 2015.",
    ),
    (
        "cifar10",
        "A. Krizhevsky: Learning Multiple Layers of Features from Tiny Images. 2009. (CIFAR.)",
    ),
    (
        "cifar100",
        "A. Krizhevsky: Learning Multiple Layers of Features from Tiny Images. 2009. (CIFAR.)",
    ),
    (
        "fashion_mnist",
        "H. Xiao, K. Rasul, R. Vollgraf: Fashion-MNIST. 2017.",
    ),
    (
        "batch_norm",
        "S. Ioffe, C. Szegedy: Batch Normalization. ICML 2015.",
    ),
    (
        "residual",
        "K. He, X. Zhang, S. Ren, J. Sun: Deep Residual Learning for Image Recognition. CVPR 2016.",
    ),
    (
        "one_cycle",
        "L. N. Smith, N. Topin: Super-Convergence: Very Fast Training of Neural Networks Using Large Learning "
        "Rates. 2019. (One cycle.)",
    ),
    (
        "muon",
        "K. Jordan et al.: Muon: An optimizer for hidden layers in neural networks. 2024.",
    ),
    (
        "",
        "E. B. Wilson: Probable Inference, the Law of Succession, and Statistical Inference. JASA 22, 1927. "
        "(Intervals of shares.)",
    ),
    (
        "",
        "D. G. Bonett, R. M. Price: Adjusted Wald Confidence Interval for a Difference of Binomial Proportions Based "
        "on Paired Data. Journal of Educational and Behavioral Statistics 37, 2012. (Intervals of differences.)",
    ),
    (
        "",
        "Q. McNemar: Note on the Sampling Error of the Difference between Correlated Proportions or Percentages. "
        "Psychometrika 12, 1947. (Differences on the same images.)",
    ),
    (
        "",
        "S. Holm: A Simple Sequentially Rejective Multiple Test Procedure. Scandinavian Journal of Statistics 6, "
        "1979. (Several comparisons.)",
    ),
)


def references(results: Results) -> Section:
    """The sources of what this study used."""
    recipes = results.recipes.values()
    used = {"", results.source} | ({"boxes"} if results.boxes else set())
    used |= {"faithfulness"} if results.picture("faithfulness") else set()
    for recipe in recipes:
        parametric = recipe.model.parametric
        used |= {"batch_norm"} if parametric and recipe.model.batch_norm else set()
        used |= {"residual"} if recipe.model.architecture.startswith("resnet") or recipe.model.residual else set()
        used |= {recipe.train.schedule, recipe.train.optimizer}
    return Section("References", [Bullets([text for when, text in REFERENCES if when in used], numbered=True)])
