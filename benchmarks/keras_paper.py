"""The published model in Keras, trained as its notebook does; prints seconds per epoch as JSON.

    python benchmarks/keras_paper.py DATA.npz EPOCHS BATCH_SIZE THREADS

Run by `benchmarks/train.py keras` in an environment that has TensorFlow. DATA holds tiles, genes
and targets of training (`train_*`) and validation (`validation_*`) patients. The first epoch, in
which the graph is traced, is run and left out.
"""

from __future__ import annotations

import json
import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from keras import layers

WIDTH, N_HEADS, KEY_SIZE, DROPOUT, L2 = 512, 8, 512, 0.5, 1e-4


class Stopwatch(keras.callbacks.Callback):
    """Notes when each epoch, its validation included, begins and ends."""

    def __init__(self) -> None:
        """Note nothing yet."""
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:  # noqa: ARG002
        """Start the watch."""
        self.began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:  # noqa: ARG002
        """Stop the watch; validation is over by now."""
        self.seconds.append(time.perf_counter() - self.began)


def build(n_tiles: int, n_features: int, n_genes: int) -> keras.Model:
    """Return the published cross-attention, one gene token its only key and value."""

    def dense(size: int, activation: str | None = "relu") -> layers.Dense:
        return layers.Dense(size, activation, kernel_regularizer=keras.regularizers.L2(L2))

    tiles, genes = keras.Input((n_tiles, n_features)), keras.Input((n_genes,))
    convolved = layers.Conv1D(
        WIDTH, 3, padding="same", activation="relu", kernel_regularizer=keras.regularizers.L2(L2)
    )(tiles)
    image = layers.GlobalAveragePooling1D()(convolved)
    query = layers.Reshape((1, WIDTH))(image)
    key = layers.Reshape((1, WIDTH))(dense(WIDTH)(genes))
    gathered = layers.MultiHeadAttention(N_HEADS, KEY_SIZE)(query, key, key)
    vector = dense(WIDTH)(layers.Flatten()(gathered))
    vector = layers.BatchNormalization()(layers.Dropout(DROPOUT)(vector))
    vector = layers.Dropout(DROPOUT)(dense(256)(vector))
    return keras.Model([tiles, genes], layers.Dense(1, "sigmoid")(vector))


def main() -> None:
    """Train and print."""
    path, n_epochs, batch_size, n_threads = sys.argv[1], *map(int, sys.argv[2:5])
    tf.config.threading.set_intra_op_parallelism_threads(n_threads)
    tf.config.threading.set_inter_op_parallelism_threads(n_threads)
    data = np.load(path)
    parts = [
        ([data[f"{part}_tiles"], data[f"{part}_genes"]], data[f"{part}_targets"])
        for part in ("train", "validation")
    ]
    keras.utils.set_random_seed(0)
    model = build(*parts[0][0][0].shape[1:], parts[0][0][1].shape[1])
    model.compile(keras.optimizers.Adam(1e-5), "binary_crossentropy")
    watch = Stopwatch()
    callbacks = [
        watch,
        keras.callbacks.EarlyStopping(patience=n_epochs + 1, restore_best_weights=True),
    ]
    model.fit(
        *parts[0],
        batch_size=batch_size,
        epochs=n_epochs + 1,
        validation_data=parts[1],
        callbacks=callbacks,
        verbose=0,
    )
    print(
        json.dumps(
            {
                "seconds": watch.seconds[1:],
                "n_weights": model.count_params(),
                "version": f"TensorFlow {tf.__version__}, Keras {keras.__version__}",
            }
        )
    )


if __name__ == "__main__":
    main()
