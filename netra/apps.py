from django.apps import AppConfig


class NetraConfig(AppConfig):
    """What belongs to a deployment as a whole: the command `ready`."""

    name = "netra"
    verbose_name = "Netra"
