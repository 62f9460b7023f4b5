"""Charsets that content may name.

May import: nothing of blazeio. Pure.
"""

import codecs
import re

# Those that browsers know (the Encoding standard), under Python's names too. An
# allow-list, since some of Python's take time that grows with the square.
_CHARSET = re.compile(
    r"utf-?8|(us-)?ascii|utf-?16([bl]e)?|iso-?8859-?\d\d?|latin-?1|windows-?125\d|"
    r"cp125\d|koi8-?[ru]|gbk|gb2312|gb18030|big5|shift[-_]?jis|euc-?jp|euc-?kr|"
    r"iso-?2022-?jp",
    re.IGNORECASE,
)


def find_charset(label: str) -> str | None:
    """Python's name of a charset; None where it is not known, or not to be used.

    Args:
        label: As it was sent, in any case.
    """
    if not _CHARSET.fullmatch(label):
        return None
    try:
        return codecs.lookup(label).name
    except LookupError:  # iso-8859-99
        return None
