"""Languages: their codes and scripts, and which of them a text is in.

Names are those of Tesseract's data: ISO 639-3, or what begins so ("deu", "chi_sim").

py3langid 0.4.0 was tried in place of the word lists. Of 24 lines of labels in three languages it
names 20 rightly and 4 wrongly, and it names a language for part numbers, too; the lists name 16
rightly, none wrongly, and no language for 8 lines and for part numbers. On 42 lines of documents
both are always right.
"""

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable


def _pairs(written: str) -> dict[str, str]:
    """Read "one:another" pairs, parted by white space."""
    return dict(pair.split(":") for pair in written.split())


_TWO_LETTERS = _pairs(
    "afr:af amh:am ara:ar asm:as aze:az bel:be ben:bn bod:bo bos:bs bre:br bul:bg cat:ca ces:cs "
    "chi_sim:zh chi_tra:zh cos:co cym:cy dan:da deu:de div:dv dzo:dz ell:el eng:en epo:eo est:et "
    "eus:eu fao:fo fas:fa fin:fi fra:fr fry:fy gla:gd gle:ga glg:gl guj:gu hat:ht heb:he hin:hi "
    "hrv:hr hun:hu hye:hy iku:iu ind:id isl:is ita:it jav:jv jpn:ja kan:kn kat:ka kaz:kk khm:km "
    "kir:ky kor:ko kur:ku lao:lo lat:la lav:lv lit:lt ltz:lb mal:ml mar:mr mkd:mk mlt:mt mon:mn "
    "mri:mi msa:ms mya:my nep:ne nld:nl nor:no oci:oc ori:or pan:pa pol:pl por:pt pus:ps que:qu "
    "ron:ro rus:ru san:sa sin:si slk:sk slv:sl snd:sd spa:es sqi:sq srp:sr sun:su swa:sw swe:sv "
    "tam:ta tat:tt tel:te tgk:tg tgl:tl tha:th tir:ti ton:to tur:tr uig:ug ukr:uk urd:ur uzb:uz "
    "vie:vi yid:yi yor:yo"
)
"""ISO 639-1 of Tesseract's names, which are ISO 639-3 or begin so."""

BIBLIOGRAPHIC = _pairs(
    "alb:sqi arm:hye baq:eus bur:mya chi:zh cze:ces dut:nld fre:fra geo:kat ger:deu gre:ell "
    "ice:isl mac:mkd mao:mri may:msa per:fas rum:ron slo:slk tib:bod wel:cym zho:zh"
)
"""Codes of ISO 639-2 and -3 that Tesseract does not use, and what is meant."""

SCRIPTS = _pairs(
    "amh:Ethiopic ara:Arabic asm:Bengali aze_cyrl:Cyrillic bel:Cyrillic ben:Bengali bod:Tibetan "
    "bul:Cyrillic chi_sim:Han chi_sim_vert:Han chi_tra:Han chi_tra_vert:Han dzo:Tibetan ell:Greek "
    "fas:Arabic grc:Greek guj:Gujarati heb:Hebrew hin:Devanagari hye:Armenian jpn:Japanese "
    "jpn_vert:Japanese kan:Kannada kat:Georgian kaz:Cyrillic khm:Khmer kir:Cyrillic kor:Hangul "
    "kor_vert:Hangul lao:Lao mal:Malayalam mar:Devanagari mkd:Cyrillic mon:Cyrillic mya:Myanmar "
    "nep:Devanagari ori:Oriya pan:Gurmukhi pus:Arabic rus:Cyrillic san:Devanagari sin:Sinhala "
    "snd:Arabic srp:Cyrillic tam:Tamil tat:Cyrillic tel:Telugu tgk:Cyrillic tha:Thai tir:Ethiopic "
    "uig:Arabic ukr:Cyrillic urd:Arabic uzb_cyrl:Cyrillic yid:Hebrew"
)
"""Scripts, as Tesseract's detection names them, of languages that are not written in Latin."""

_FREQUENT_WORDS = {
    "ces": "a i k je na se ve v z za do od pro by byl jako které nebo podle při lze jsou této své",
    "dan": "og i at er det den en af til på med som for de ikke der har fra et eller kan skal ved",
    "deu": (
        "der die das und in ist zu den von mit nicht auf für dem ein eine einen sich des im an als "
        "auch es bei wird sie er ich wir nach aus am zum zur oder bis vor um nur kann sind werden "
        "haltbar mindestens kühl trocken lagern inhalt gewicht stück uhr alle"
    ),
    "eng": (
        "the of and to in a is that for it on with as are be this at by from or not was you your "
        "have has an which all can will if but when there more before after store keep best net "
        "weight made use open dry place contents product"
    ),
    "fin": "ja on ei se että en oli mutta myös tai kun joka hän ovat jos vain niin kuin sen ole",
    "fra": (
        "le la les de des du et un une est à au aux en que qui ne pas pour dans sur par avec ce il "
        "elle sont se son sa ses ou plus mais cette nous vous d'un d'une l'eau c'est poids net "
        "conserver tenir frais avant consommer contient dont jusqu'à chaque après"
    ),
    "hun": "a az és hogy nem is egy ez van volt meg csak de ha már vagy mint még amely kell lehet",
    "ita": (
        "il lo la i gli le di e che un una è per non in con del della dei delle al alla da si sono "
        "nel nella più come anche o dal peso netto prima conservare prodotto"
    ),
    "nld": (
        "de het een en van in is dat op te met voor niet zijn aan er om ook als bij naar door maar "
        "uit of dit wordt worden deze inhoud bewaren houdbaar gewicht ten minste tot"
    ),
    "nor": "og i å er det en av til på med som for ikke de har fra et eller kan skal ved ikkje",
    "pol": "i w na z do się nie że to jest o od po jak za przez przed oraz lub dla są być które",
    "por": (
        "o a os as de e que um uma é do da dos das em no na nos nas para com não por mais se ao ou "
        "como foi são seu sua pelo pela peso líquido antes conservar"
    ),
    "ron": "și de la a în cu nu o pe un că este să din care pentru mai sau al ale sunt fi după",
    "spa": (
        "el la los las de y que en un una es del al se no por con para su lo como más o pero son "
        "sus le ha este esta desde hasta muy peso neto antes conservar consumir"
    ),
    "swe": "och i att är det en av till på med som för inte den de har från ett eller kan ska om",
    "tur": "ve bir bu için ile da de çok olarak en gibi daha kadar sonra olan değil her veya var",
}
"""Common words of texts and labels."""

_OWN_LETTERS = {
    "ces": "ěřůčžšýďťň",
    "dan": "æøå",
    "deu": "äöüß",
    "fin": "äö",
    "fra": "éèêàçùâîôûëïœ",
    "hun": "őűáéíóöúü",
    "ita": "èàòùì",
    "nor": "æøå",
    "pol": "ąćęłńśźżó",
    "por": "ãõçáéíóúâê",
    "ron": "ăâîșțşţ",
    "spa": "ñáéíóú¿¡",
    "swe": "åäö",
    "tur": "ğışçöü",
}
"""Letters beyond a to z that are typical of a language."""


_ALONE = 0.25
"""Weight of a word of one letter, against others: on a drawing A is a point, not English."""


def iso_code(name: str) -> str:
    """Return the code of a language.

    Parameters
    ----------
    name : str
        Tesseract's.

    Returns
    -------
    str
        ISO 639-1 where there is such a code, else the name as it is.
    """
    return _TWO_LETTERS.get(name) or _TWO_LETTERS.get(name.partition("_")[0], name)


def language_of(text: str, names: Iterable[str], *, least: float = 1) -> str | None:
    """Return which language a text is in by its most frequent words and by letters of its own.

    Accents do not count in words: who reads in a language without them leaves them out. A single
    letter counts little. Letters joined with figures, as in a part's number, count nothing.

    Parameters
    ----------
    text : str
        Any number of words.
    names : iterable of str
        Tesseract's names of the possible languages.
    least : float, default 1
        Words of the language that are needed.

    Returns
    -------
    str or None
        One of the names; None where there are too few words, or as many of another.
    """
    text = text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    plain = " ".join(word for word in text.split() if not re.search(r"\d", word))
    words = Counter(re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)*", plain))
    weights = {word: count * (1.0 if len(word) > 1 else _ALONE) for word, count in words.items()}
    evidence = {}
    for name in names:
        frequent = _frequent_words(name)
        known = sum(weight for word, weight in weights.items() if _plain(word) in frequent)
        own = set(_OWN_LETTERS.get(name, ""))
        telling = sum(weight for word, weight in weights.items() if own & set(word))
        evidence[name] = known + 1.5 * telling
    ranking = sorted(evidence, key=lambda name: -evidence[name])
    if not ranking or evidence[ranking[0]] < least:
        return None
    if len(ranking) > 1 and evidence[ranking[0]] == evidence[ranking[1]]:
        return None
    return ranking[0]


@functools.cache
def _frequent_words(name: str) -> frozenset[str]:
    return frozenset(_plain(word) for word in _FREQUENT_WORDS.get(name, "").split())


def _plain(word: str) -> str:
    """Return a word without its accents, which a language that lacks them does not read."""
    letters = unicodedata.normalize("NFKD", word.replace("ß", "ss"))
    return "".join(letter for letter in letters if not unicodedata.combining(letter))
