"""The tissues and their terms: the same as src/language/tissue_words.cpp."""

TISSUE_TERMS = {
    "air": "air gas outside empty atmosphere background",
    "lung": "lung lungs breathing respiratory breath chest",
    "fat": "fat fatty oil grease butter obesity",
    "water": "water fluid liquid wet urine cyst",
    "soft": "tissue muscle muscles liver kidney organ spleen",
    "blood": "blood vessel artery heart vascular aorta",
    "bone": "bone bones spine rib skeleton skull pelvis",
    "metal": "metal steel implant iron titanium alloy",
}


def all_terms() -> list[str]:
    return [term for terms in TISSUE_TERMS.values() for term in terms.split()]


def tissues_without_term(words) -> list[str]:
    known = set(words)
    return [tissue for tissue, terms in TISSUE_TERMS.items() if known.isdisjoint(terms.split())]
