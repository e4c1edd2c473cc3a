"""The service of a hospital network: studies come in over DICOM or HTTP, reports go back.

One process keeps both doors and the queue; each worker is a process of its own, so that the network goes on
answering while a study is reported, and a study that takes its worker down takes nothing else along. All state lies in
one folder: killed at any moment, the service goes on from there.
"""
