"""The README's figures in Chinese: the words of `benchmarks.table` replaced, its figures kept.

Knows no result. Words it has no Chinese for are an error that names them.
"""

from __future__ import annotations

import re

# A heading, a sentence or a cell as it stands.
WORDS = {
    "texts/s": "条/秒",
    "min to max": "最小～最大",
    "of bare": "与裸前向之比",
    "p50 ms": "p50（ms）",
    "p95 ms": "p95（ms）",
    "one run": "只跑一次",
    "bare packed forward, in process, tokenising included": (
        "裸前向：进程内打包（packed）计算，含分词"
    ),
    "LangChain `embed_documents`": "LangChain `embed_documents`",
    "64 clients at once, one text a call": "64 个客户端并发，每次调用一条文本",
    "sentence-transformers, its default batch filled in arrival order": (
        "sentence-transformers，默认批大小，按到达顺序组批"
    ),
    "sentence-transformers, the whole list at its defaults (it sorts by length)": (
        "sentence-transformers，默认设置，整个列表一次传入（它会按长度排序）"
    ),
    "sentence-transformers, its best batch size on a list sorted by length": (
        "sentence-transformers，最佳批大小，列表已按长度排序"
    ),
    "one short query, idle server": "一条短查询，服务端空闲",
    "the same, bare forward in process": "同一条查询，进程内裸前向",
    "a gRPC call that does nothing": "什么都不做的 gRPC 调用",
    "`Client.embed_stream`, 64 texts a message": "`Client.embed_stream`，每条消息 64 条文本",
    "the same messages, replies dropped unread: the server's own limit": (
        "同样的消息，响应不读直接丢弃：服务端自身的极限"
    ),
    "`Client.embed`, 64 texts a request, 4 in flight": (
        "`Client.embed`，每个请求 64 条文本，4 个请求在途"
    ),
    "`Client.embed`, one text a call, one call after the other": (
        "`Client.embed`，每次调用一条文本，逐次调用"
    ),
    # The suite.
    "tokens/s": "token/秒",
    "of product": "与矩阵乘之比",
    "waits": "空等",
    "fill": "批填充率",
    "over st": "st 的倍数",
    "over st, best": "最佳 st 的倍数",
    "p99 ms": "p99（ms）",
    "one short question, idle server": "一条短问题，服务端空闲",
    "the same through `AsyncClient`": "同样的问题，经 `AsyncClient`",
    "its forward alone, in process": "只有它的前向，进程内",
    "bulk": "批量文本",
    "tokens/s alone": "独占时 token/秒",
    "keeps": "保留",
    "question p50 ms": "问题 p50（ms）",
    "questions behind one instruction, each computed whole": "同一指令的问题，每条完整计算",
    "the same, the instruction computed once": "同样的问题，指令只计算一次",
    "tokens computed a text": "每条文本计算的 token",
    "start with an empty compile cache": "编译缓存为空时启动",
    "start with a full one": "编译缓存已有时启动",
    "ready after s": "就绪（秒）",
    "first question ms": "第一个问题（ms）",
    "Bare is the forward alone, in process, on the same texts.": (
        "“裸前向”是进程内对同样文本只做前向计算。"
    ),
    "Waits is the part of the time in which the device had no work though a text waited.": (
        "“空等”是有文本在等、设备却没有活可干的时间占比。"
    ),
    "**Quick sizes: these figures mean nothing.**": "**小规模试跑：这些数字没有意义。**",
    "Texts come in eight streams of chunks of 64.": "文本经八个流送入，每块 64 条。",
}

# The same with figures in them.
PATTERNS = {
    r"Qwen3-Embedding-(\S+) shape, random weights": r"Qwen3-Embedding-\1 的结构，随机权重",
    r"Qwen3-Embedding-(\S+) shape, (\S+) of (\S+) layers, random weights": (
        r"Qwen3-Embedding-\1 的结构，取 \3 层中的 \2 层，随机权重"
    ),
    r"([\d.,]+)x": r"\1 倍",
    r"(\S+) tokens": r"\1 个 token",
    r"log-normal, median (\S+), at most (\S+) tokens": (
        r"对数正态分布，中位数 \1，最多 \2 个 token"
    ),
    r"questions of (\S+) tokens behind (\S+)": r"\1 个 token 的问题，前面有 \2 个 token 的指令",
    (
        r"St is sentence-transformers in (\S+) at its default, batches of (\S+) as they arrive; "
        r"best is its best batch size on a sorted list\."
    ): (
        r"st 是 \1、默认设置的 sentence-transformers，按到达顺序每批 \2 条；“最佳”是在已排序的"
        r"列表上用它最好的批大小。"
    ),
    r"(.+): (\S+) callers, (\S+) a call": r"\1：\2 个并发调用方，每次 \3 条",
    r"number (\S+) ms": r"第 \1 个（ms）",
    r"Computed in (\S+), at most (\S+) tokens a batch\.": (r"以 \1 计算，每批最多 \2 个 token。"),
    r"Product is a product of square matrices in the same run, (\S+) TFLOP/s\.": (
        r"“矩阵乘”是同一次运行中方阵相乘的速度，\1 TFLOP/s。"
    ),
    r"Beside the bulk stream (\S+) questions a second\.": (r"与批量流同时，每秒 \1 个问题。"),
    r"Largest difference of a value between the two: (\S+)\.": (r"两者之间单个值的最大差：\1。"),
    (
        r"(\S+), (.+), (\S+) cores; python (\S+), torch (\S+), transformers (\S+), "
        r"sentence-transformers (\S+), grpcio (\S+), commit (\S+)\."
    ): (
        r"\1，\2，\3 核；python \4、torch \5、transformers \6、sentence-transformers \7、"
        r"grpcio \8、commit \9。"
    ),
    r"(\S+) to (\S+)": r"\1～\2",
    r"demo model \((\S+), (\S+) parameters\)": r"demo 模型（\1，\2 参数）",
    r"(\S+) shape, (\S+) of (\S+) layers, random weights": (
        r"\1 的结构，取 \3 层中的 \2 层，随机权重"
    ),
    r"A model that costs nothing, (\S+) values, sixteen-token texts": (
        r"零开销模型，\1 维向量，每条文本十六个 token"
    ),
    r"(\S+) texts of (\S+) tokens \(median; (\S+) on average, (\S+) at most\)\.": (
        r"\1 条文本，每条 \2 个 token（中位数；平均 \3，最多 \4）。"
    ),
    r"With 64 clients at once a call takes (\S+) ms \(p50\), (\S+) ms \(p99\)\.": (
        r"64 个客户端并发时，一次调用耗时 \1 ms（p50）、\2 ms（p99）。"
    ),
    r"Best batch size of sentence-transformers: (\S+)\.": (
        r"sentence-transformers 的最佳批大小是 \1。"
    ),
    r"one stream of (\S+) texts": r"一个流，\1 条文本",
    (
        r"During the long stream memory grew by (\S+) MB \(server\) and (\S+) MB \(client\); "
        r"a text took (\S+) and (\S+) microseconds of their processors\."
    ): (
        r"跑这个长流期间，服务端内存增长 \1 MB，客户端增长 \2 MB；"
        r"每条文本耗费的 CPU 时间，服务端 \3 微秒，客户端 \4 微秒。"
    ),
    (
        r"(\S+), (.+), (\S+) cores, (\S+) torch threads on every side, waiting without spinning; "
        r"python (\S+), torch (\S+), sentence-transformers (\S+), grpcio (\S+), commit (\S+)\."
    ): (
        r"\1，\2，\3 核，各方都用 \4 个 torch 线程，等待时不自旋；"
        r"python \5、torch \6、sentence-transformers \7、grpcio \8、commit \9。"
    ),
    (
        r"Medians of at most (\S+) interleaved rounds; lengths log-normal, median (\S+), "
        r"sigma (\S+), clipped to (\S+) to (\S+) words, seed (\S+)\."
    ): (
        r"取最多 \1 轮交错运行的中位数；文本长度服从对数正态分布，中位数 \2，"
        r"sigma \3，截断到 \4～\5 个词，随机种子 \6。"
    ),
    r"Other processes took (\S+) of the machine meanwhile\.": (
        r"测试期间，其他进程占用了整机的 \1。"
    ),
}


def translated(markdown: str) -> str:
    """The Chinese of what `benchmarks.table.summary` says.

    Raises:
        LookupError: Some of it has no Chinese here.
    """
    return "".join(f"{_line(line)}\n" for line in markdown.splitlines())


def _line(line: str) -> str:
    if line.startswith("|"):
        cells = line.strip("|").split("|")
        return "| " + " | ".join(_piece(cell.strip()) for cell in cells) + " |"
    if line.startswith("### "):
        return "### " + _piece(line.removeprefix("### "))
    return "".join(_piece(sentence) for sentence in re.split(r"(?<=\.) ", line))


def _piece(english: str) -> str:
    if english in WORDS:
        return WORDS[english]
    for pattern, chinese in PATTERNS.items():
        if found := re.fullmatch(pattern, english):
            return found.expand(chinese)
    if re.search("[A-Za-z]", re.sub("`.*?`", "", english)):
        raise LookupError(f"benchmarks/chinese.py has no Chinese for: {english}")
    return english
