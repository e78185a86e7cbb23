r"""One server in several processes of one machine: `--fronts N`, `--devices cuda:0,cuda:1`.

    callers -> front, front, ...   receive, tokenise, reply; they share the ports
                 |        \
               desk        engine, engine, ...   one for each device: queue, batches, model

The process that was started is the supervisor: it holds the desk, which lets work in and says
which device does it, and starts every other process again that ends. Between processes there are
Unix sockets and plain data (`link`, `carried`); nothing else is shared.
"""
