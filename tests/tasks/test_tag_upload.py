from workers.app import app

PUBLISHED = ("tagfarm.tag_upload",)
"""Every name that the task ever had. A line is added, never removed: messages and programs still use them."""


def test_every_name_that_was_ever_published_works() -> None:
    app.loader.import_default_modules()
    assert set(PUBLISHED) <= set(app.tasks)
    assert "tagfarm.sweep" in app.tasks
    for name in PUBLISHED:
        assert app.tasks[name].acks_late is True


def test_each_queue_has_its_own_key() -> None:
    queues = {queue.name: (queue.exchange.name, queue.routing_key) for queue in app.conf.task_queues}
    assert queues == {name: (name, name) for name in ("uploads", "uploads.overflow", "backfill")}
