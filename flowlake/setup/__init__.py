"""Setting up in AWS: rights, flow logs, stacks, and whether all of it is as it should be.

``policies``, ``log_delivery`` and ``roles`` say who may do what, ``templates`` make it in one go.
``provisioning`` makes flow logs of a ``recording``, where ``covering`` finds none already.
``checking`` puts together what ``arrivals``, ``serving``, ``watching``, ``baseline`` and ``trails``
find, as ``advice``.
"""
