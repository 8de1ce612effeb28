"""The words of the constraint suite: topics and constraints as users write them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Facets: TypeAlias = Mapping[str, Sequence[str]]
"""Values by facet; any of them will do."""

KINDS = ("only", "no", "prefer", "for")
COMMANDS = {"massive_en": "scenario", "mtop_en": "domain"}
"""Sets of commands, and what their labels call the domain."""


@dataclass(frozen=True)
class Topic:
    """What a query is about: phrases for it, and the rows that are about it."""

    phrases: tuple[str, ...]
    facets: Facets


@dataclass(frozen=True)
class Constraint:
    """What is wanted or unwanted, and by kind the wordings of it."""

    facets: Facets
    wordings: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Part:
    """Packages that carry a facet, with topics and constraints on them."""

    facet: str
    topics: tuple[Topic, ...]
    constraints: tuple[Constraint, ...]


_IMAGES = Topic(
    ("image viewer", "edit pictures", "convert photos"),
    {
        "works-with": ("image", "image:raster", "image:vector", "3dmodel"),
        "section": ("graphics",),
    },
)
_TEXTS = Topic(
    ("editor for text", "search in text files"),
    {"works-with": ("text", "unicode", "dtp"), "section": ("text", "editors", "tex")},
)
_SOUND = Topic(
    ("music player", "record sound", "mixer for audio"),
    {"works-with": ("audio", "music-notation"), "section": ("sound",)},
)
_VIDEO = Topic(("play videos", "video editing"), {"works-with": ("video",), "section": ("video",)})
_MAIL = Topic(("read mail", "filter email"), {"works-with": ("mail",), "section": ("mail",)})
_FILES = Topic(
    ("manage files", "pack and unpack archives", "backup of files"),
    {"works-with": ("file", "archive"), "hardware": ("storage", "storage:cd", "storage:dvd")},
)
_CODE = Topic(
    ("tools for source code", "version control"), {"works-with": ("software:source", "vcs")}
)
_DATA = Topic(("database", "query a database"), {"works-with": ("db",), "section": ("database",)})
_ADMIN = Topic(
    ("system monitoring", "administer a machine", "watch processes"),
    {
        "works-with": ("software:running", "logfile", "software:package"),
        "section": ("admin",),
    },
)
_NETWORK = Topic(
    ("network client", "talk to a server", "watch network traffic"),
    {"network": ("client", "scanner", "configuration"), "works-with": ("network-traffic",)},
)
_SERVER = Topic(("server", "network service"), {"network": ("server", "service")})
_WEB = Topic(("web browser", "tools for web pages"), {"protocol": ("http",), "section": ("web",)})
_SCIENCE = Topic(
    ("mathematics", "simulate physics", "analyse biological data"),
    {"section": ("science", "math", "electronics"), "works-with": ("biological-sequence",)},
)
_GAMES = Topic(("puzzle to play", "game with cards", "action game"), {"section": ("games",)})
_CALENDAR = Topic(("calendar and contacts", "plan appointments"), {"works-with": ("pim",)})
_DICTIONARY = Topic(("dictionary", "check spelling"), {"works-with": ("dictionary",)})
_DESKTOP = Topic(
    ("desktop", "window manager"), {"x11": ("window-manager", "applet", "theme", "screensaver")}
)
_SUBJECTS = (
    _IMAGES,
    _TEXTS,
    _SOUND,
    _VIDEO,
    _MAIL,
    _FILES,
    _CODE,
    _DATA,
    _ADMIN,
    _NETWORK,
    _SERVER,
    _WEB,
    _SCIENCE,
    _CALENDAR,
    _DICTIONARY,
)

_COMMAND_LINE = Constraint(
    {"interface": ("commandline", "shell", "text-mode")},
    {
        "only": (
            "Only command line tools, nothing graphical.",
            "Only programs that run in a terminal.",
            "command line only",
        ),
        "no": ("No command line tools.", "Nothing that one has to type in a terminal"),
        "prefer": ("Prefer programs for the command line", "preferably usable in a shell script"),
        "for": ("For the terminal", "for use over ssh, without a screen"),
    },
)
_GRAPHICAL = Constraint(
    {"interface": ("graphical", "x11", "3d")},
    {
        "only": (
            "Only tools with a graphical interface",
            "Only programs with windows and buttons.",
            "graphical programs only",
        ),
        "no": (
            "No graphical programs.",
            "Nothing with a graphical interface",
            "Exclude everything that opens a window.",
        ),
        "prefer": ("Prefer a graphical interface.", "preferably something to click on"),
        "for": ("For the desktop", "for people who like to use the mouse"),
    },
)
_DAEMON = Constraint(
    {"interface": ("daemon",)},
    {
        "only": ("Only daemons that run in the background.", "only background services"),
        "no": ("No daemons.", "Nothing that keeps running in the background"),
        "prefer": ("Prefer services that run in the background",),
        "for": ("For a server that runs day and night",),
    },
)
_GTK = Constraint(
    {"uitoolkit": ("gtk",), "suite": ("gnome", "xfce")},
    {
        "only": ("Only what is built with GTK.", "only GNOME or GTK programs"),
        "no": ("No GTK programs.", "Nothing that needs GNOME or GTK"),
        "prefer": ("Prefer GTK.", "preferably one that fits into GNOME"),
        "for": ("For GNOME", "written for GNOME"),
    },
)
_QT = Constraint(
    {"uitoolkit": ("qt",), "suite": ("kde",)},
    {
        "only": ("Only what is built with Qt.", "only KDE or Qt programs"),
        "no": ("No Qt programs.", "Nothing that needs KDE or Qt"),
        "prefer": ("Prefer Qt.", "preferably one that fits into KDE"),
        "for": ("For KDE", "written for KDE"),
    },
)
_LIBRARIES = Constraint(
    {"role": ("shared-lib", "devel-lib")},
    {
        "only": ("Only libraries.", "only what I can link my own program with"),
        "no": ("not libraries", "No libraries, please.", "Exclude libraries."),
        "prefer": ("Prefer libraries", "preferably a library"),
        "for": ("For use in my own program", "written for developers who need a library"),
    },
)
_PROGRAMS = Constraint(
    {"role": ("program",)},
    {
        "only": ("Only programs that can be started.", "applications only"),
        "no": ("No finished programs.", "Nothing to run, only what programs are made with"),
        "prefer": ("Prefer finished programs", "preferably an application for users"),
        "for": ("For users, not for developers",),
    },
)
_DOCUMENTATION = Constraint(
    {"role": ("documentation",), "section": ("doc",)},
    {
        "only": ("Only documentation.", "only manuals and examples"),
        "no": ("No documentation.", "Leave out manuals"),
        "prefer": ("Prefer documentation",),
        "for": ("For reading: manuals and references",),
    },
)
_PERL = Constraint(
    {"devel": ("lang:perl",)},
    {
        "only": ("Only modules for Perl.", "only Perl"),
        "no": ("Nothing for Perl.", "not Perl modules", "Exclude everything about Perl."),
        "prefer": ("Prefer Perl", "preferably written in Perl"),
        "for": ("For Perl", "written for Perl programmers"),
    },
)
_PYTHON = Constraint(
    {"devel": ("lang:python",), "section": ("python",)},
    {
        "only": ("Only packages for Python.", "only Python"),
        "no": ("Nothing for Python.", "not Python modules"),
        "prefer": ("Prefer programs written in Python", "preferably Python"),
        "for": ("For Python", "written for Python programmers"),
    },
)
_C = Constraint(
    {"devel": ("lang:c", "lang:c++"), "section": ("libdevel",)},
    {
        "only": ("Only headers and development files for C or C++.",),
        "no": ("No development files for C or C++.", "Leave out header files"),
        "prefer": ("Prefer development files for C",),
        "for": ("For C and C++ developers",),
    },
)
_PLAY = Constraint(
    {"section": ("games",)},
    {
        "only": ("Only games.", "only something to play"),
        "no": ("No games.", "Exclude anything about games", "nothing to play, only serious uses"),
        "prefer": ("Prefer games", "preferably fun to play"),
        "for": ("For children who want to play",),
    },
)

DEBIAN = {
    "interface": Part(
        "interface",
        (*_SUBJECTS, _GAMES, _DESKTOP),
        (_COMMAND_LINE, _GRAPHICAL, _DAEMON, _GTK, _QT),
    ),
    "role": Part(
        "role",
        (*_SUBJECTS, _DESKTOP),
        (_LIBRARIES, _PROGRAMS, _DOCUMENTATION, _PERL, _PYTHON, _C),
    ),
    "games": Part(
        "uitoolkit",
        (
            Topic(("program with sound and animation", "built on SDL"), {"uitoolkit": ("sdl",)}),
            Topic(("three-dimensional graphics", "uses OpenGL"), {"interface": ("3d",)}),
            Topic(("runs in a text terminal", "uses ncurses"), {"uitoolkit": ("ncurses",)}),
            Topic(("part of KDE", "KDE application"), {"suite": ("kde",)}),
            Topic(("part of GNOME", "GNOME application"), {"suite": ("gnome",)}),
            Topic(("graphical application", "window on the desktop"), {"x11": ("application",)}),
            Topic(("connects over the network", "server"), {"network": ("client", "server")}),
            Topic(
                ("keyboard and joystick", "mouse"),
                {"hardware": ("input", "input:keyboard", "input:joystick", "input:mouse")},
            ),
        ),
        (_PLAY,),
    ),
}


def _intent(to: str, about: str) -> Constraint:
    return Constraint(
        {},
        {
            "only": (f"Only requests to {to}.", f"only {about}", f"I want nothing but {about}."),
            "no": (
                f"Nothing about {about}.",
                f"No requests to {to}.",
                f"Exclude anything about {about}",
                f"not {about}",
            ),
            "prefer": (f"Prefer requests to {to}.", f"preferably {about}"),
            "for": (f"For people who want to {to}", f"for somebody who would like to {to}"),
        },
    )


_MASSIVE = {
    "alarm set": _intent("set an alarm", "setting alarms"),
    "alarm query": _intent("see which alarms are set", "asking which alarms are set"),
    "audio volume mute": _intent("mute the sound", "muting"),
    "audio volume up": _intent("make it louder", "turning the volume up"),
    "iot hue lightoff": _intent("switch lights off", "turning off lights"),
    "iot hue lightchange": _intent("change the colour of a light", "colours of lights"),
    "iot coffee": _intent("make coffee", "coffee"),
    "iot cleaning": _intent("start the vacuum cleaner", "vacuum cleaning"),
    "general quirky": _intent("chat", "small talk"),
    "datetime query": _intent("tell the time or date", "asking for the time or the date"),
    "music query": _intent("know which song is playing", "questions about a song"),
    "music likeness": _intent("say that a song is liked", "liking songs"),
    "takeaway query": _intent("ask whether a restaurant delivers", "asking about takeaway"),
    "takeaway order": _intent("order food", "ordering food"),
    "play music": _intent("play music", "playing songs"),
    "play radio": _intent("turn on the radio", "radio stations"),
    "play podcasts": _intent("play a podcast", "podcasts"),
    "play audiobook": _intent("read an audiobook aloud", "audiobooks"),
    "play game": _intent("play a game", "games"),
    "recommendation events": _intent("find events nearby", "events"),
    "recommendation locations": _intent("find a place nearby", "shops and restaurants"),
    "qa factoid": _intent("answer a question of fact", "facts about people and places"),
    "qa definition": _intent("define a word", "definitions of words"),
    "qa currency": _intent("convert money", "exchange rates"),
    "qa stock": _intent("tell the price of a share", "stock prices"),
    "calendar set": _intent("enter an event into the calendar", "adding events and reminders"),
    "calendar query": _intent("know what is in the calendar", "questions about appointments"),
    "calendar remove": _intent("delete an event", "cancelling events"),
    "social post": _intent("post something", "posting on social media"),
    "transport query": _intent("find the way or a timetable", "directions and timetables"),
    "transport ticket": _intent("book a ticket", "tickets"),
    "transport traffic": _intent("know how the traffic is", "traffic"),
    "transport taxi": _intent("call a taxi", "taxis"),
    "email query": _intent("check for new mail", "new emails"),
    "email sendemail": _intent("send an email", "writing emails"),
    "email querycontact": _intent("find a contact", "looking up contacts"),
    "lists query": _intent("read a list", "what is on a list"),
    "lists createoradd": _intent("add to a list", "adding to lists"),
    "lists remove": _intent("remove from a list", "removing from lists"),
}
_MTOP = {
    "create alarm": _intent("set an alarm", "new alarms"),
    "get alarm": _intent("show the alarms", "asking which alarms are set"),
    "snooze alarm": _intent("snooze an alarm", "snoozing"),
    "delete alarm": _intent("remove an alarm", "removing alarms"),
    "create reminder": _intent("be reminded of something", "new reminders"),
    "delete reminder": _intent("delete a reminder", "deleting reminders"),
    "get reminder": _intent("list the reminders", "asking which reminders there are"),
    "update reminder date time": _intent("move a reminder", "changing the time of reminders"),
    "get info recipes": _intent("know details of a recipe", "ingredients and cooking times"),
    "get recipes": _intent("find a recipe", "finding recipes"),
    "is true recipes": _intent("check something about a dish", "yes or no questions on food"),
    "create call": _intent("call somebody", "calling somebody"),
    "update call": _intent("add somebody to a call", "adding people to a call"),
    "get availability": _intent("know who is online", "who is available"),
    "end call": _intent("hang up", "ending calls"),
    "get stories news": _intent("read the headlines", "news stories"),
    "question news": _intent("answer a question about the news", "questions about events"),
    "create timer": _intent("start a timer", "new timers"),
    "get timer": _intent("know how much time is left", "time left on a timer"),
    "add time timer": _intent("add time to a timer", "adding minutes"),
    "pause timer": _intent("pause a timer", "pausing"),
    "delete timer": _intent("cancel a timer", "deleting timers"),
    "send message": _intent("send a message", "sending messages"),
    "get message": _intent("read messages", "reading messages"),
    "get contact": _intent("know who somebody is", "friends and relatives"),
    "get location": _intent("know where somebody lives", "places where people live"),
    "get employer": _intent("know where somebody works", "employers"),
    "get info contact": _intent("know details of a contact", "details of contacts"),
    "play music": _intent("play music", "playing songs"),
    "get track info music": _intent("know which song this is", "information about a song"),
    "get event": _intent("find events", "concerts and festivals"),
}
INTENTS: Mapping[str, Mapping[str, Constraint]] = {"massive_en": _MASSIVE, "mtop_en": _MTOP}
