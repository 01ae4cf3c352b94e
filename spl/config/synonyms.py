"""Other names of options: what users of other programs call them, and former names.

Which options a command has is said by its dataclass; the tables here are the same for all commands.
"""

import difflib
from collections.abc import Collection, Mapping

# Option before -> now. Files of options, such as a run's config.yaml, are read as if they said the new one.
RENAMED = {
    "capacity": "memory.capacity",
    "curriculum.sense": "curriculum.modality",
    "data.films": "data.videos",
    "data.recordings": "data.paths",
    "data.videos.root": "data.paths",
    "episodes": "num_episodes",
    "first_seed": "seed",
    "layer": "layers",
    "methods": "method",
    "models": "model",
    "num_images": "num_drawn",
    "order": "vary.attention.order",
    "num_samples": "num_measured",
    "num_shown": "num_drawn",
    "root": "data.root",
    "seconds": "duration_s",
    "seeds": "num_seeds",
    "senses": "modalities",
    "separation": "vary.attention.share",
    "shown": "modalities",
    "steps": "num_steps",
    "test.films": "test.paths",
    "test.recordings": "test.paths",
    "which": "checkpoint",
}
# Option -> words for what runs did before there was one: their config.yaml does not name it.
BEFORE = {
    "agent.thirds": ("--agent.thirds", "none"),
    "env.state_keys": ("--env.state_keys", "none"),
    "encoder.attention_options": ("--encoder.attention_options.reduction", "null"),
    "encoder.attention_start": ("--encoder.attention_start", "module"),
}
JOINED = {"data.recordings", "data.videos.root", "test.films", "test.recordings"}  # say nothing if empty
SPELLED = {"bf16": "bfloat16", "fp32": "float32"}  # choices, as others write them

# What users of other programs call an option -> what it is here; of several, the first that a command has.
# A name with a dot is that option alone, one without is the option of that last part in any section.
_CALLED = (
    ("lr eta step_size", "learning_rate"),
    ("epoch epochs num_epochs n_epochs max_epochs num_train_epochs", "recipe.epochs num_steps num_episodes"),
    ("bs batch minibatch minibatch_size mini_batch_size train_batch_size", "batch_size"),
    ("wd l2", "weight_decay"),
    ("clip clip_grad grad_clip gradient_clip max_norm clip_norm", "max_grad_norm"),
    ("warmup warmup_ratio", "warmup_epochs curriculum.warmup"),
    ("gamma", "agent.gamma recipe.factor"),
    ("discount discount_factor", "agent.gamma"),
    ("env_id env_name environment game gym_id task id", "env.id"),
    ("env_kwargs", "env.kwargs"),
    ("step timesteps total_timesteps n_timesteps num_timesteps total_steps max_steps train_steps num_frames "
     "total_frames iterations num_iterations max_iters", "num_steps recipe.epochs duration_s"),
    ("episodes episode n_episodes max_episodes", "num_episodes num_steps"),
    ("n_eval_episodes num_eval_episodes eval_episodes", "num_episodes evaluate_episodes"),
    ("eval_freq eval_frequency eval_interval eval_every", "evaluate_every_steps"),
    ("trials n_trials", "num_trials"),
    ("seeds n_seeds num_runs runs_per_variant repeats", "num_seeds seeds seed"),
    ("random_seed random_state rng", "seed seeds"),
    ("gpu gpus cuda use_cuda cpu accelerator device_id", "device"),
    ("out output output_dir output_folder output_path out_dir outdir save save_path save_dir save_folder "
     "model_dir results_dir work_dir dest file filename o", "out runs"),
    ("log_dir logdir run_dir name run_name exp_name experiment experiment_name project", "runs out"),
    ("workers worker n_workers num_workers", "data.num_workers num_envs data.videos.num_workers"),
    ("n_jobs jobs max_workers processes num_processes concurrency", "parallel data.num_workers num_envs"),
    ("envs n_envs env_num", "num_envs"),
    ("threads n_threads cpus num_cpus", "num_threads"),
    ("buffer buffer_size replay_size replay_buffer_size memory_size", "memory.capacity"),
    ("learning_starts start_steps warmup_steps prefill", "memory.min_size"),
    ("eps epsilon exploration", "epsilon agent.epsilon_end"),
    ("final_epsilon exploration_final_eps eps_end end_e", "agent.epsilon_end"),
    ("initial_epsilon exploration_initial_eps eps_start start_e", "agent.epsilon_start"),
    ("episodic_life episode_life life_loss terminal_on_life end_on_life_loss", "agent.terminal_on_life_loss"),
    ("exploration_fraction eps_decay epsilon_decay", "agent.epsilon_decay_steps"),
    ("target_update target_update_interval target_network_frequency", "agent.target_every_updates"),
    ("tau", "agent.target_tau"),
    ("train_freq train_frequency", "loop.collect_steps"),
    ("gradient_steps", "loop.replays"),
    ("stack frame_stack framestack n_stack num_stack", "memory.history data.history"),
    ("frameskip skip action_repeat", "env.frame_skip"),
    ("gray grayscale greyscale", "grey"),
    ("per prioritized prioritized_replay spl self_paced pacing", "curriculum.name"),
    ("checkpoint ckpt load load_path restore continue resume_from resume_from_checkpoint",
     "resume agent checkpoint"),
    ("pretrained_model weights init_from", "pretrained.run model.weights resume checkpoint"),
    ("run model_path policy", "agent pretrained.run"),
    ("dataset data_name", "data.name data.paths"),
    ("data_dir data_path data_root dataset_dir dataset_path root path input", "data.root data.paths out"),
    ("folder dir directory", "data.root data.paths out runs"),
    ("videos video films movies clips", "data.paths"),
    ("arch architecture network net backbone", "model model.name encoder.video_stream"),
    ("size img_size imgsz resolution input_size", "image_size video_size"),
    ("augment aug augmentation augmentations", "data.augmentation agent.video_shift"),
    ("test_size val_size val_split validation_split split", "data.test_share"),
    ("noise", "data.label_noise objective.noise"),
    ("amp fp16 bf16 half dtype mixed_precision", "precision"),
    ("save_freq save_interval save_steps checkpoint_freq checkpoint_interval",
     "checkpoint_every_steps checkpoint_every_minutes"),
    ("log_interval log_freq logging_steps print_freq", "report_every_steps"),
    ("sr sampling_rate sample_rate", "sample_rate_hz"),
    ("mels n_mels num_mel_bins", "num_mels"),
    ("timeout step_timeout", "step_timeout_s"),
    ("seconds duration length max_duration max_seconds", "duration_s"),
    ("samples images num_images num_samples n_samples n_images num_examples", "num_drawn num_measured"),
    ("sense senses modality", "modalities curriculum.modality"),
    ("target_layer layer", "layers"),
    ("cam", "method"),
    ("wandb use_wandb wandb_project wandb_project_name mlflow tensorboard tensorboard_log tracker report_to "
     "logger", "track"),
)  # fmt: skip
CALLED = {word: tuple(meant.split()) for words, meant in _CALLED for word in words.split()}
MAIN = ("", "env", "agent", "recipe", "loop", "data", "model", "memory")  # sections, the likeliest first
MOST = 3  # that a sentence names


def nearest_options(typed: str, names: Collection[str], aliases: Mapping[str, str]) -> list[str]:
    """Return the options that a word may mean, by meaning, else by spelling; none where nothing is near.

    Args:
        typed: what is no option, without dashes before it.
        names: dotted keys of the options there are.
        aliases: short to full key.
    """
    word = typed.lower().replace("-", "_")
    section, _, last = word.rpartition(".")
    if inside := [name for name in names if name.startswith(f"{word}.")]:
        return inside[:MOST]
    for meant in (RENAMED.get(word), *CALLED.get(last, ()), last):
        if meant is not None and (found := _of_last_part(meant, names, section)):
            return found[:MOST]
    if last.startswith("no_") and (found := _of_last_part(last.removeprefix("no_"), names, section)):
        return [f"{name} false" for name in found[:MOST]]
    sections = {name.rpartition(".")[0] for name in names}
    lasts = {name.rpartition(".")[2] for name in names}
    if found := difflib.get_close_matches(word, {*names, *aliases, *sections}, 1):
        return found
    return [
        name
        for close in difflib.get_close_matches(last, lasts, 1, cutoff=0.75)
        for name in _of_last_part(close, names, section)
    ][:MOST]


def _of_last_part(meant: str, names: Collection[str], section: str) -> list[str]:
    """Return the option ``meant``, of the section if there, else of a main one, else all of that part."""
    for name in (f"{section}.{meant.rpartition('.')[2]}", meant):
        if name in names:
            return [name]
    found = [name for name in names if name.rpartition(".")[2] == meant]
    mains = [f"{main}.{meant}".removeprefix(".") for main in MAIN]
    return next(([name] for name in mains if name in found), found)


def either(words: Collection[str]) -> str:
    """Return ``a``, ``a or b``, or ``a, b or c``."""
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last
