"""A published sequence classifier becomes a model artefact.

The way of a checkpoint, and the file of each step:

    place ─► checkpoint ─► network, tokenizer ─► folder ─► parity ─► calibration ─► artefact
    hub      files, labels  transformers loads    graph    refused     only with
    or dir   all checked    safetensors only      int8?    over 1e-4   labelled data

    cli.py         the command
    order.py       what it is asked for
    place.py       a folder here, or one fetched from the hub
    checkpoint.py  what a folder of transformers' files holds, and everything that is wrong with it
    labels.py      what each logit means
    network.py     the network and its tokenizer, as transformers loads them
    parity.py      the artefact's answers beside those of transformers
    measure.py     calibration and scores on labelled texts
    card.py        the card
    run.py         all of it in order
"""
