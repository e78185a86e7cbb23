"""Sort help-desk tickets into topics that nobody named, and see how pure they are.

python examples/clusters.py [localhost:50051]
"""

from __future__ import annotations

import sys
from collections import Counter

from corpus import load_tickets
from sklearn.cluster import KMeans

from qwire import Client


def main(target: str | None = None) -> None:
    """As many clusters as the labels have topics; the labels are used for judging alone."""
    tickets = load_tickets()
    with Client(target) as client:
        vectors = client.embed_documents([ticket.text for ticket in tickets])
    topics = {ticket.topic for ticket in tickets}
    means = KMeans(len(topics), n_init=10, random_state=0).fit(vectors)

    num_pure = 0
    for cluster in range(len(topics)):
        members = [i for i, label in enumerate(means.labels_) if label == cluster]
        counts = Counter(tickets[i].topic for i in members)
        num_pure += counts.most_common(1)[0][1]
        typical = max(members, key=lambda i: vectors[i] @ means.cluster_centers_[cluster])
        print(f"{len(members):3} like {tickets[typical].text!r}")
        print(f"    {', '.join(f'{count} {topic}' for topic, count in counts.most_common())}")
    print(f"purity: {num_pure / len(tickets):.2f}  (tickets in a cluster whose topic is theirs)")


if __name__ == "__main__":
    main(*sys.argv[1:])
