"""The names that other tools use: those of settings and techniques that are here under another name, and the rest."""

# In lower case without dashes and underscores, as `suggestions.plain` writes a name. Similar spellings need no alias.
_SETTINGS = {
    "lr": "learningrate learnrate lrate eta baselr initlr initiallr maxlr",
    "weight_decay": "wd decayrate lambda",
    "weight_decay_scope": "decay",
    "batch_size": "bs batch minibatch",
    "optimizer": "opt optim",
    "epochs": "nepochs numepochs maxepochs nbepochs iterations",
    "device": "gpu gpus cuda accelerator",
    "device=cpu": "nocuda nogpu cpuonly",
    "scheduler.t_max": "tmax scheduler.tmax",
    "loss": "criterion lossfn lossfunction objective",
    "metric": "metrics",
    "optimizer.betas": "beta1 beta2 adambetas optimizer.beta1 optimizer.beta2",
    "wandb.mode=online": "usewandb wandbonline",
    "init": "initialization initialisation weightinit initializer",
    "model": "arch architecture net network",
    "dataset": "data ds",
    "data_dir": "datapath dataroot",
    "scheduler": "sched schedule lrscheduler lrschedule",
    "scheduler.warmup_epochs": "warmup warmupepochs",
    "augmentation": "aug augment augmentations transform transforms",
    "normalization": "norm",
    "preprocessing": "preprocess prep inputscaling",
    "preprocessing=fixed": "normalize",
    "normalization=batch": "batchnorm bn",
    "activation": "act nonlinearity",
    "dropout": "drop dropoutrate pdrop",
    "seed": "randomseed manualseed",
    "early_stop_patience": "patience earlystopping earlystop",
    "validate_every": "validationintervals validationinterval valinterval evalevery evalinterval valevery testinterval",
    "regularization=gradient_clipping": "clip gradclip clipgrad maxgradnorm",
    "precision": "amp dtype",
    "precision=fp16": "fp16 half",
    "precision=bf16": "bf16",
    "dataset.validation_size": "valsize valsplit validationsize validationsplit",
    "dataset.train_size": "trainsize subset subsetsize trainfraction limittrainbatches",
    "dataset.label_noise": "noiserate noiselevel labelcorruption",
    "dataset.imbalance": "imbratio imbalanceratio imbfactor longtail",
    "output_dir": "out outdir savedir logdir",
    "resume": "ckpt checkpoint",
    "wandb.mode": "logger loggers tracker",
    "retrain": "force",
    "layer_stats_every": "insightevery",
    "sweep.fairness_check": "sweep.fair",
    "wandb.log_model": "wandb.artifact",
    "dataset.on_corrupt_image": "dataset.broken",
    "scheduler.min_lr": "scheduler.minimum",
    "scheduler.step_size": "scheduler.every",
    "normalization.num_groups": "normalization.groups",
}

_TECHNIQUES = {
    "activation=sigmoid": "logistic",
    "activation=silu": "swish",
    "activation=hardswish": "hardsilu",
    "augmentation=crop": "randomcrop",
    "augmentation=random_erasing": "erasing erase",
    "augmentation=rand_augment": "randaug",
    "augmentation=trivial_augment": "trivialaugmentwide",
    "augmentation=gray": "grey grayscale greyscale randomgrayscale randomgray",
    "augmentation=blur": "gaussianblur",
    "augmentation=note_000": "note000 note0",
    "augmentation=color_jitter": "jitter colourjitter",
    "augmentation=flip": "randomhorizontalflip horizontalflip hflip randomflip",
    "augmentation=noise": "gaussiannoise",
    "augmentation=rotation": "rotate randomrotation",
    "dataset=arrays": "npz npy numpy array parquet arrow huggingface hf medmnist tensors",
    "dataset=stl10": "stl",
    "dataset=kmnist": "kuzushiji kuzushijimnist",
    "dataset=image_folder": "folder images pictures",
    "init=kaiming_normal": "henormal kaiming he",
    "init=kaiming_uniform": "heuniform",
    "init=xavier_normal": "glorotnormal xavier glorot",
    "init=xavier_uniform": "glorotuniform",
    "loss=cross_entropy": "crossentropyloss ce nll nllloss softmaxcrossentropy",
    "loss=focal": "focalloss",
    "loss=hinge": "multimarginloss multimargin marginloss hingeloss svm",
    "loss=mse": "mseloss squarederror l2loss brier",
    "loss=poly": "polyloss poly1",
    "init=zeros": "zero",
    "init=trunc_normal": "truncatednormal truncnormal",
    "model=lecture_cnn": "cnn lecturenet",
    "model=resnet18": "resnet",
    "model=timm": "pytorchimagemodels",
    "model=vgg": "vgg11 vgg13",
    "model=vit": "visiontransformer transformer vittiny",
    "model=wide_resnet": "wrn wideresnet wrn164 wrn2810 wideresnet164 wideresnet2810",
    "augmentation=none": "off no",
    "normalization=none": "off no",
    "regularization=none": "off no",
    "normalization=batch": "batchnorm batchnorm2d bn",
    "normalization=group": "groupnorm gn",
    "normalization=layer": "layernorm ln",
    "normalization=instance": "instancenorm instancenorm2d in",
    "normalization=rms": "rmsnorm",
    "normalization=weight": "weightnorm wn",
    "optimizer=momentum": "sgdm sgdmomentum momentumsgd",
    "optimizer=nesterov": "nag",
    "preprocessing=center": "centre demean zerocenter",
    "preprocessing=fixed": "normalize given",
    "preprocessing=none": "off no raw totensor",
    "preprocessing=per_pixel": "meanimage perpixelmean",
    "preprocessing=standardize": "standardise zscore perchannel",
    "preprocessing=whiten": "whitening zca pca",
    "regularization=gradient_clipping": "clip clipping gradclip clipgrad clipgradnorm",
    "regularization=label_smoothing": "smoothing",
    "regularization=l2": "ridge",
    "regularization=l1": "lasso",
    "regularization=stochastic_depth": "droppath",
    "regularization=spectral_norm": "spectralnorm sn",
    "regularization=weight_standardization": "ws weightstandardisation",
    "scheduler=constant": "constantlr none off no",
    "scheduler=cosine": "cosineannealing cosineannealinglr cosinelr",
    "scheduler=cosine_restarts": "cosineannealingwarmrestarts cosinewarmrestarts sgdr",
    "scheduler=cyclic": "cycliclr",
    "scheduler=exponential": "exponentiallr",
    "scheduler=factors": "listed multistep multisteplr",
    "scheduler=linear": "linearlr",
    "scheduler=one_cycle": "onecyclelr",
    "scheduler=plateau": "reducelronplateau reduceonplateau",
    "scheduler=polynomial": "polynomiallr polylr poly",
    "scheduler=step": "steplr",
    "scheduler=wsd": "warmupstabledecay trapezoidal",
}

# Techniques and layers of other tools that are a setting of another group here.
_OTHER_GROUP = {
    "preprocessing=fixed": "augmentation=normalize augmentation=normalise normalization=normalize normalize",
    "preprocessing=standardize": "augmentation=standardize normalization=standardize",
    "preprocessing=whiten": "augmentation=whitening augmentation=zca normalization=whiten",
    "normalization=batch": "regularization=batchnorm regularization=batchnormalization model=batchnorm",
    "early_stop_patience": "regularization=earlystopping scheduler=earlystopping",
    "scheduler.warmup_epochs": "scheduler=warmup scheduler=linearwarmup scheduler=warmuplr scheduler=gradualwarmup",
    "augmentation=mixup": "regularization=mixup",
    "dropout": "regularization=dropout",
    "augmentation=cutmix": "regularization=cutmix",
    "regularization=label_smoothing": "loss=labelsmoothing augmentation=labelsmoothing",
}

# The letters by which scripts abbreviate their flags, as in -o adam.
LETTERS = {"o": "optimizer", "w": "weight_decay", "b": "batch_size", "e": "epochs", "d": "dataset", "s": "seed"}
LETTERS |= {"l": "lr", "r": "lr", "n": "normalization", "a": "activation", "v": "validate_every", "p": "precision"}

_EXPLAINED = {
    "A line is printed for every epoch": "printepochs printevery printfreq loginterval logevery logfreq verbose",
    "The images lie in memory, on the device: no process loads them": "numworkers workers pinmemory prefetchfactor",
    "A run is saved after each epoch and within one (checkpoint_minutes)": "saveevery saveinterval savefreq savebest",
    "The images are shuffled anew in every epoch": "shuffle",
    "A claim is tested by python -m trainer lecture --claim NAME": "claim claims",
    "Pixels are scaled within the network (preprocessing)": (
        "augmentation=totensor augmentation=toimage augmentation=todtype"
    ),
}

# {name of a setting, or "group=name" of a technique: why there is none}
EXPLAINED = {alias: sentence for sentence, aliases in _EXPLAINED.items() for alias in aliases.split()}

# {name of a setting, or "group=name" of a technique: what it is here}
ALIASES = {
    **{alias: setting for setting, aliases in _SETTINGS.items() for alias in aliases.split()},
    **{
        f"{technique.partition('=')[0]}={alias}": technique
        for technique, aliases in _TECHNIQUES.items()
        for alias in aliases.split()
    },
    **{alias: setting for setting, aliases in _OTHER_GROUP.items() for alias in aliases.split()},
}

# Techniques that this program does not have. Some are spelt almost like one that it has and are not meant by it. Names
# whose figures differ, as those of cifar20 and cifar10, need no entry.
ELSEWHERE = {
    "activation": "glu hardtanh rrelu softmax tanhshrink",
    "dataset": "imagenet",
    "init": "lecunnormal lecununiform uniform",
    "model": "alexnet densenet efficientnet lenet mobilenet",
    "optimizer": "adabelief adamp adan asgd lamb lars rprop sparseadam",
}
