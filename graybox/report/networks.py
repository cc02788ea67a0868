"""The chapter on the networks: the best one's layers, and how all are trained."""

from __future__ import annotations

from graybox.network.params import ModelParams, TrainParams
from graybox.network.sizes import layer_sizes, shortcuts
from graybox.report.document import Block, Numbers, Paragraph, Section
from graybox.report.results import Results
from graybox.report.words import count, large, listed


def section(results: Results, numbers: Numbers) -> Section:
    """The best network's layers, and how all are trained."""
    name, base = results.best["variant"], results.recipes.baseline
    model, train = results.recipes[name].model, results.recipes[base].train
    blocks: list[Block] = []
    if model.parametric:
        blocks.append(Paragraph(_architecture(results.recipes[base].model, "The baseline")))
        blocks += numbers.figure(
            f"The best network, {name}: {count(int(results.winner['parameters']), 'weight')}, "
            f"{large(results.winner['macs'])} multiply-accumulates (MACs) for an image.",
            [results.picture("network")],
        )
        blocks.append(_layers(results, numbers))
    else:
        blocks.append(
            Paragraph(
                f"The best network, {name}, is {model.architecture}"
                + (f", started from the weights {model.weights}" if model.weights else "")
                + f": {count(int(results.winner['parameters']), 'weight')}, {large(results.winner['macs'])} "
                f"multiply-accumulates (MACs) for an image."
            )
        )
    blocks.append(Paragraph(f"Training. {_training(train)} {_augmentation(train)}"))
    if seeds := {results.recipes[each].train.seeds for each in results.recipes} - {1}:
        blocks.append(
            Paragraph(
                f"Variants with several seeds were trained up to {max(seeds)} times; figures are means over these."
            )
        )
    return Section("Networks and training", blocks)


def _architecture(model: ModelParams, subject: str) -> str:
    said = f"{subject} has {count(model.conv_layers, 'convolutional layer')}"
    said += f" with filters of {model.kernel_size} x {model.kernel_size} pixels ({_filters(model)})"
    said += ", batch normalisation" if model.batch_norm else ""
    said += " and ReLU" + _shortcuts(model)
    if model.max_pool:
        said += f", max pooling of {model.max_pool} x {model.max_pool} pixels after {_ends(model)}"
    said += ", global average pooling" if model.global_average_pool else ""
    said += f", and {count(model.fc_layers, 'fully connected layer')}"
    said += (
        f" ({model.fc_units} units, then one for each class)" if model.fc_layers > 1 else " (one unit for each class)"
    )
    return said + ". " + (f"Dropout of {model.dropout:.0%} stands before these." if model.dropout else "").strip()


def _shortcuts(model: ModelParams) -> str:
    if not (spans := model.shortcut_spans):
        return ""
    if len(spans) * model.residual == model.conv_layers:
        return f", a shortcut around each {f'{model.residual} layers' if model.residual > 1 else 'layer'}"
    ranges = [f"{layers[0]} to {layers[-1]}" for layers in spans]
    return f", {'a shortcut' if len(spans) == 1 else 'shortcuts'} around layers {listed(ranges)}"


def _filters(model: ModelParams) -> str:
    filters = model.filters_per_layer
    if len(set(filters)) == 1:
        return f"{filters[0]} in each layer" if len(filters) > 1 else f"{filters[0]} of them"
    return f"{listed([str(number) for number in filters], 20)} of them in turn"


def _ends(model: ModelParams) -> str:
    if model.pool_every == 1:
        return "each"
    return f"layer {listed([str(end) for end in model.block_ends])}"


def _layers(results: Results, numbers: Numbers) -> Block:
    name = results.best["variant"]
    model, size = results.recipes[name].model, results.data["image_size"]
    rows = []
    for layer in layer_sizes(model, size, len(results.classes)):
        shape = f"{layer.size} x {layer.size} x {layer.channels}" if layer.size > 1 else f"{layer.channels}"
        weights, macs = f"{layer.weights:,}" if layer.weights else "-", large(layer.macs) if layer.macs else "-"
        rows.append([layer.name, shape, weights, macs])
    rows.append(["all", "", f"{int(results.winner['parameters']):,}", large(results.winner["macs"])])
    projects = any(shortcut.projects for shortcut in shortcuts(model).values())
    counted = " A shortcut's own weights are counted with the last layer that it spans." if projects else ""
    return numbers.table(
        f"The layers of {name}, for images of {size} x {size} pixels.{counted}",
        ["layer", "output (pixels, maps)", "weights", "MACs per image"],
        rows,
        strong=[len(rows) - 1],
    )


def _training(train: TrainParams) -> str:
    optimizer = "stochastic gradient descent" if train.optimizer == "sgd" else "Muon (orthogonalised steps)"
    peak = train.learning_rate if train.optimizer == "sgd" else train.muon_learning_rate
    decay = train.weight_decay if train.optimizer == "sgd" else train.muon_weight_decay
    rate = (
        f"the learning rate climbs to {peak:g} in the first {train.warmup_fraction:.0%} of the steps and then falls "
        "to 0 (one cycle)"
        if train.schedule == "one_cycle"
        else f"the learning rate is {peak:g} all the time"
    )
    said = (
        f"The baseline is trained for {count(train.total_epochs, 'epoch')} by {optimizer} with momentum "
        f"{train.momentum:g}, weight decay {decay:g} and batches of {train.batch_size} images; {rate}."
    )
    if train.start_size < 1:
        said += (
            f" The images start at {train.start_size:.0%} of their size and grow to the full size within the first "
            f"{train.full_size_from:.0%} of the steps."
        )
    if train.gradient_clip is not None:
        said += f" Gradients are clipped to the norm {train.gradient_clip:g}."
    if train.weight_average:
        last = "epoch" if train.weight_average == 1 else f"{train.weight_average:g} epochs"
        said += f" The network has the exponential moving average of its weights over about the last {last}."
    if train.label_smoothing:
        said += f" The loss is cross-entropy with label smoothing {train.label_smoothing:g}."
    return said


def _augmentation(train: TrainParams) -> str:
    ways = []
    if train.flip:
        ways.append("half of them are mirrored")
    if train.shift:
        ways.append(f"they move by up to {train.shift} pixels")
    if train.zoom > 1:
        ways.append(f"they grow, shrink and stretch by up to {train.zoom:g}")
    if train.color_jitter:
        ways.append(f"brightness, contrast and saturation change by up to {train.color_jitter:.0%}")
    if train.cutout:
        ways.append(f"a square of {train.cutout:.0%} of the side is covered")
    if train.mixup:
        ways.append("pairs of images are blended")
    if not ways:
        return "Training images are shown as they are."
    return f"Training images change each time they are shown: {listed(ways)}. Test images stay as they are."
