"""The model that ``mlflow models serve`` is measured with: as a person would build it from scikit-learn's parts.

Runs as a script in mlflow's own environment, so it imports nothing of ours. The films are a file of JSON lines. Their
fields and the size of the trees are those of our model. What would only make mlflow slower is left out: no signature
is saved, against which it would check each request, and trees are asked with one thread.
"""

import argparse
import json
from pathlib import Path

import mlflow.sklearn
import pandas as pd
from lightgbm import LGBMRegressor
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

_MOST_TERMS = 2_000


def texts(films: pd.DataFrame) -> pd.Series:
    """Title and overview as one text."""
    return films["title"] + " " + films["overview"].fillna("")


def numbers(films: pd.DataFrame) -> pd.DataFrame:
    """The features that are numbers, or become numbers without being learned."""
    released = pd.to_datetime(films["release_date"]).dt
    return pd.DataFrame(
        {
            "release year": released.year,
            "release month": released.month,
            "day of the year": released.day_of_year,
            "day of the week": released.day_of_week,
            "title length": films["title"].str.len(),
            "overview length": films["overview"].str.len(),
            "number of genres": films["genres"].str.len(),
            "votes": films["vote_count"],
            "popularity": films["popularity"],
        },
        dtype="float64",
    )


def main() -> None:
    """Train, and save as mlflow saves models."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("films", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trees", type=int, required=True)
    parser.add_argument("--leaves", type=int, required=True)
    parser.add_argument("--learning-rate", type=float, required=True)
    arguments = parser.parse_args()
    films = pd.DataFrame([json.loads(line) for line in arguments.films.read_text().splitlines()])
    number_fields = ["title", "overview", "release_date", "genres", "vote_count", "popularity"]
    pipeline = make_pipeline(
        ColumnTransformer(
            [
                (
                    "text",
                    make_pipeline(FunctionTransformer(texts), TfidfVectorizer(min_df=4, max_features=_MOST_TERMS)),
                    ["title", "overview"],
                ),
                ("genres", CountVectorizer(analyzer=set, binary=True), "genres"),
                ("language", OneHotEncoder(min_frequency=20, handle_unknown="ignore"), ["original_language"]),
                ("numbers", FunctionTransformer(numbers), number_fields),
            ]
        ),
        LGBMRegressor(
            n_estimators=arguments.trees,
            num_leaves=arguments.leaves,
            learning_rate=arguments.learning_rate,
            n_jobs=1,
            verbosity=-1,
        ),
    )
    pipeline.fit(films, films["vote_average"])
    # Requirements that are named need not be found out, which takes longer than the training.
    mlflow.sklearn.save_model(
        pipeline, arguments.folder, serialization_format="cloudpickle", pip_requirements=["scikit-learn", "lightgbm"]
    )


if __name__ == "__main__":
    main()
