"""The small CIFAR GAN of a well-known book on deep learning with Keras.

Its listing circulates with faults. Mended here, each by what the loop does anyway:

- pictures were scaled to [0, 1] against a tanh output: data are in [-1, 1];
- D was never compiled, and the other compile said `optimizers=`: every player has its
  optimiser, checked before the first batch;
- `lr=`, `decay=` and a weights file without `.weights.h5`, which today's Keras refuses:
  settings are validated, checkpoints are safetensors;
- D was frozen by a flag that today's Keras reads at another time: the trainer thaws
  exactly the mover's networks;
- label noise pushed targets above 1, which today's binary cross-entropy refuses: it moves
  them inward;
- a D rate of 0.008: 0.0008;
- samples were scaled as if in [0, 1] and written as `.png)`, into a folder that was never
  made: the run folder does it;
- no shuffling, and the remainder of each epoch was discarded: samples come from an endless
  seeded shuffle that drops none.

The listing calls forgeries 1 and reals 0; a logit's sign is a convention, so here, as
everywhere, a high score means real. D sees reals and forgeries with no norm that could mix
them, so one mixed batch and two halves give the same gradient.
"""

from ganforge.recipes import Recipe

recipe = Recipe(
    name="frogs",
    objective="gan",
    family="frogs",
    citation="Chollet 2017, Deep Learning with Python, section 8.5 (a small CIFAR-10 GAN of "
    "frogs); its discriminator's tricks after Chintala et al. 2016, How to Train a GAN",
    headline="A first convolutional GAN on 32 px colour pictures of one class.",
    settings={
        "latent.size": 32,
        "label_noise": 0.05,
        "batch_size": 20,
        "optimiser": "rmsprop",
        "betas": (0.0, 0.9),
        "eps": 1e-7,
        "clip": 1.0,
        "lr": 4e-4,
        "lr.D": 8e-4,
    },
    about="The book's example with its faults mended: cifar10:frog, or any 32 px colour set.",
)
